/* SPDX-License-Identifier: MIT */
#include "block/faults.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/num.h"
#include "block/layers.h"

enum fault_kind { FAULT_DELAY, FAULT_FAIL, FAULT_LOG };

/* One layer's words, understood. */
struct fault {
	enum fault_kind kind;
	uint32_t ops;
	uint64_t delay_ns;
	enum block_fail_when when;
	uint64_t n;
	int err;
	char text[BLOCK_FAULT_BYTES_MAX]; /* log: after parsing, the file's name */
};

static const struct {
	const char *name;
	uint32_t ops;
} fault_ops[] = {
	{ "read", 1U << BLOCK_READ },           { "write", 1U << BLOCK_WRITE },
	{ "flush", 1U << BLOCK_FLUSH },         { "discard", 1U << BLOCK_DISCARD },
	{ "zeroes", 1U << BLOCK_WRITE_ZEROES }, { "all", BLOCK_OPS_ALL },
};

static const int fault_errnos[] = { EIO,    ENOSPC, EDQUOT, EROFS,  EINVAL, EOPNOTSUPP,
				    ENODEV, ENXIO,  ENOMEM, EACCES, EPERM,  ETIMEDOUT };

static bool parse_op(const char *word, uint32_t *ret)
{
	for (size_t i = 0; i < ARRAY_SIZE(fault_ops); i++) {
		if (strcmp(word, fault_ops[i].name) == 0) {
			*ret = fault_ops[i].ops;
			return true;
		}
	}
	return false;
}

static bool parse_errno(const char *word, int *ret)
{
	for (size_t i = 0; i < ARRAY_SIZE(fault_errnos); i++) {
		if (strcmp(word, strerrorname_np(fault_errnos[i])) == 0) {
			*ret = -fault_errnos[i];
			return true;
		}
	}
	return false;
}

/* Decimal digits, and where they end. */
static bool parse_digits(const char *word, uint64_t *ret, const char **ret_end)
{
	uint64_t value = 0;
	const char *at = word;

	for (; *at >= '0' && *at <= '9'; at++) {
		if (!num_mul_u64(value, 10, &value) ||
		    !num_add_u64(value, (uint64_t)(*at - '0'), &value)) {
			return false;
		}
	}
	*ret = value;
	*ret_end = at;
	return at != word;
}

static bool parse_time(const char *word, uint64_t *ret_ns)
{
	static const struct {
		const char *name;
		uint64_t ns;
	} units[] = { { "us", 1000 }, { "ms", 1000000 }, { "s", 1000000000 } };
	const char *unit;
	uint64_t n;

	if (!parse_digits(word, &n, &unit)) {
		return false;
	}
	for (size_t i = 0; i < ARRAY_SIZE(units); i++) {
		if (strcmp(unit, units[i].name) == 0) {
			return num_mul_u64(n, units[i].ns, ret_ns) &&
			       *ret_ns <= BLOCK_FAULT_DELAY_MAX_S * 1000000000ULL;
		}
	}
	return false;
}

static bool parse_offset(const char *word, uint64_t *ret)
{
	static const char units[] = "KMGT";
	const char *end, *unit;
	uint64_t n;

	if (!parse_digits(word, &n, &end)) {
		return false;
	}
	if (*end != '\0') {
		unit = strchr(units, *end);
		if (!unit || end[1] != '\0' ||
		    !num_mul_u64(n, 1ULL << (10 * (unit - units + 1)), &n)) {
			return false;
		}
	}
	*ret = n;
	return true;
}

static int parse_delay(struct fault *fault, char *rest, struct diag *reterr)
{
	char *time = strsep(&rest, ":"), *op = strsep(&rest, ":");

	fault->ops = BLOCK_OPS_ALL;
	if (!parse_time(time, &fault->delay_ns)) {
		return diag_set(reterr, -EINVAL,
				"fault delay:%s: a time is a number and us, ms or s, at most %us",
				time, BLOCK_FAULT_DELAY_MAX_S);
	}
	if (op && !parse_op(op, &fault->ops)) {
		return diag_set(reterr, -EINVAL,
				"fault delay: no operation '%s': choose read, write, flush, "
				"discard, zeroes or all",
				op);
	}
	if (rest) {
		return diag_set(reterr, -EINVAL, "fault delay: '%s' is too much", rest);
	}
	return 0;
}

/* every=N, nth=N, at=OFFSET, or the name of an errno. */
static bool parse_fail_word(struct fault *fault, const char *word)
{
	const char *end;

	if (strncmp(word, "every=", 6) == 0) {
		fault->when = BLOCK_FAIL_EVERY;
		return parse_digits(word + 6, &fault->n, &end) && *end == '\0' && fault->n > 0;
	}
	if (strncmp(word, "nth=", 4) == 0) {
		fault->when = BLOCK_FAIL_NTH;
		return parse_digits(word + 4, &fault->n, &end) && *end == '\0' && fault->n > 0;
	}
	if (strncmp(word, "at=", 3) == 0) {
		fault->when = BLOCK_FAIL_TOUCH;
		return parse_offset(word + 3, &fault->n);
	}
	return parse_errno(word, &fault->err);
}

static int parse_fail(struct fault *fault, char *rest, struct diag *reterr)
{
	char *op = strsep(&rest, ":"), *word;

	if (!parse_op(op, &fault->ops)) {
		return diag_set(reterr, -EINVAL,
				"fault fail: no operation '%s': choose read, write, flush, "
				"discard, zeroes or all",
				op);
	}
	fault->when = BLOCK_FAIL_EVERY;
	fault->n = 1;
	fault->err = -EIO;
	while ((word = strsep(&rest, ":")) != NULL) {
		if (!parse_fail_word(fault, word)) {
			return diag_set(reterr, -EINVAL,
					"fault fail: '%s' is none of every=N, nth=N, at=OFFSET "
					"and an errno such as EIO or ENOSPC",
					word);
		}
	}
	return 0;
}

/* The words of one layer, in fault->text. */
static int parse_fault(struct fault *fault, struct diag *reterr)
{
	char *rest = fault->text, *name = strsep(&rest, ":");

	if (strcmp(name, "delay") == 0 && rest) {
		fault->kind = FAULT_DELAY;
		return parse_delay(fault, rest, reterr);
	}
	if (strcmp(name, "fail") == 0 && rest) {
		fault->kind = FAULT_FAIL;
		return parse_fail(fault, rest, reterr);
	}
	if (strcmp(name, "log") == 0 && rest && *rest) {
		fault->kind = FAULT_LOG;
		memmove(fault->text, rest, strlen(rest) + 1);
		return 0;
	}
	return diag_set(reterr, -EINVAL,
			"fault '%s' is none: write delay:TIME, fail:OP or log:FILE, joined by +",
			name);
}

/* Parses what *at points at, up to a '+' or the end, and steps behind it; NULL: that was the last. */
static int next_fault(const char **at, struct fault *fault, struct diag *reterr)
{
	const char *end = strchrnul(*at, '+');
	size_t bytes = (size_t)(end - *at);

	if (bytes >= sizeof(fault->text)) {
		return diag_set(reterr, -EINVAL, "a fault of more than %u bytes",
				BLOCK_FAULT_BYTES_MAX - 1);
	}
	memcpy(fault->text, *at, bytes);
	fault->text[bytes] = '\0';
	*at = *end ? end + 1 : NULL;
	return parse_fault(fault, reterr);
}

int block_faults_check(const char *text, struct diag *reterr)
{
	unsigned int count = 0;
	struct fault fault;

	if (!text || !*text) {
		return 0;
	}
	while (text) {
		int err = next_fault(&text, &fault, reterr);

		if (err) {
			return err;
		}
		if (++count > BLOCK_FAULTS_MAX) {
			return diag_set(reterr, -EINVAL, "more than %d faults on one disk",
					BLOCK_FAULTS_MAX);
		}
	}
	return 0;
}

static int create_fault(const struct fault *fault, struct block *lower_take, struct block **ret,
			struct diag *reterr)
{
	struct block_delay *delay;
	struct block_fail *fail;
	int err = 0;

	switch (fault->kind) {
	case FAULT_DELAY:
		err = block_delay_create(lower_take, fault->delay_ns, &delay);
		if (!err) {
			block_delay_set_ops(delay, fault->ops);
			*ret = block_delay_block(delay);
		}
		break;
	case FAULT_FAIL:
		err = block_fail_create(lower_take, &fail);
		if (!err) {
			block_fail_rule(fail, fault->ops, fault->when, fault->n, fault->err);
			*ret = block_fail_block(fail);
		}
		break;
	case FAULT_LOG:
		return block_log_create(lower_take, fault->text, ret, reterr);
	}
	return err ? diag_set(reterr, err, "no memory for a disk's faults") : 0;
}

int block_faults_create(const char *text, struct block *lower_take, struct block **ret,
			struct diag *reterr)
{
	int err = block_faults_check(text, reterr);
	struct block *top = lower_take;
	struct fault fault;

	if (err) {
		block_close(lower_take);
		return err;
	}
	if (text && !*text) {
		text = NULL;
	}
	while (text) {
		check(next_fault(&text, &fault, reterr) == 0); /* as it was checked */
		err = create_fault(&fault, top, &top, reterr);
		if (err) {
			return err;
		}
	}
	*ret = top;
	return 0;
}
