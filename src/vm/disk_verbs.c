/* SPDX-License-Identifier: MIT */
#include "vm/disk_verbs.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fault.h"
#include "base/num.h"
#include "vm/vm_internal.h"

/* Digits of a JSON integer. */
#define NUMBER_BYTES 24

/* ---- words of a request -------------------------------------------------------------------------- */

/*
 * A member's value as the word that a command line would have, since vm_disk_config_set() and its like
 * take words. NULL: an array, an object, a fraction.
 */
static const char *word_of(const json_t *value, char number[NUMBER_BYTES])
{
	if (json_is_string(value)) {
		return json_string_value(value);
	} else if (json_is_integer(value)) {
		snprintf(number, NUMBER_BYTES, "%lld", (long long)json_integer_value(value));
		return number;
	} else if (json_is_boolean(value)) {
		return json_is_true(value) ? "true" : "false";
	}
	return json_is_null(value) ? "null" : NULL;
}

typedef int word_fn(void *ctx, const char *option, const char *key, const char *value,
		    struct diag *reterr);

/*
 * Calls fn for each word of the request, but "verb" and, where about_disk, what names the disk: `disk`,
 * or `id` when that is a string and there is no `disk`. Any other `id` is the request's own: it only
 * comes back.
 */
static int each_word(const json_t *request, bool about_disk, word_fn *fn, void *ctx,
		     struct diag *reterr)
{
	const char *option = json_string_value(json_object_get(request, "verb")), *key;
	json_t *value;
	int err = 0;

	json_object_foreach((json_t *)request, key, value)
	{
		char number[NUMBER_BYTES];
		const char *word = word_of(value, number);
		bool names = strcmp(key, "id") == 0 || (about_disk && strcmp(key, "disk") == 0);

		if (err || names || strcmp(key, "verb") == 0) {
			continue;
		}
		err = word ? fn(ctx, option, key, word, reterr)
			   : diag_set(reterr, -EINVAL,
				      "%s: %s is neither text nor a whole number nor true or false",
				      option, key);
	}
	return err;
}

/* NULL: the request names no disk. */
static const char *disk_of(const json_t *request)
{
	const json_t *disk = json_object_get(request, "disk");

	return json_string_value(disk ? disk : json_object_get(request, "id"));
}

static int need_disk(const json_t *request, const char **ret, struct diag *reterr)
{
	*ret = disk_of(request);
	return *ret ? 0
		    : diag_set(reterr, -EINVAL,
			       "%s names no disk: give id=ID, as `disk list` shows it",
			       json_string_value(json_object_get(request, "verb")));
}

/* The arguments of all verbs about a disk that is there. */
struct words {
	bool force, shrink;
	uint64_t bytes;
	const char *path;
	const char *known; /* which of these this verb takes, with a space before and after each */
};

static int set_force(bool *at, const char *option, const char *key, const char *value,
		     struct diag *reterr)
{
	*at = strcmp(value, "true") == 0 || strcmp(value, "on") == 0;
	if (!*at && strcmp(value, "false") != 0 && strcmp(value, "off") != 0) {
		return diag_set(reterr, -EINVAL, "%s: %s is true or false, not \"%s\"", option, key,
				value);
	}
	return 0;
}

static int set_word(void *ctx, const char *option, const char *key, const char *value,
		    struct diag *reterr)
{
	struct words *words = ctx;
	char name[64];
	int length = snprintf(name, sizeof(name), " %s ", key);

	if (length >= (int)sizeof(name) || !strstr(words->known, name)) {
		return diag_set(reterr, -EINVAL, "%s: unknown key \"%.32s\": known are%sand id",
				option, key, words->known);
	} else if (strcmp(key, "force") == 0) {
		return set_force(&words->force, option, key, value, reterr);
	} else if (strcmp(key, "shrink") == 0) {
		return set_force(&words->shrink, option, key, value, reterr);
	} else if (strcmp(key, "path") == 0) {
		words->path = value; /* borrowed from the request: only strings may be paths */
		return 0;
	}
	snprintf(name, sizeof(name), "%s: %s", option, key);
	int err = vm_config_parse_size(name, value, &words->bytes, reterr);

	return !err && words->bytes == 0 ? diag_set(reterr, -EINVAL, "%s is 0", name) : err;
}

/* The disk that a request is about, and its words. */
static int parse(const json_t *request, const char **ret_id, struct words *words,
		 struct diag *reterr)
{
	int err = need_disk(request, ret_id, reterr);

	err = err ? err : each_word(request, true, set_word, words, reterr);
	if (!err && words->path) {
		words->path = json_string_value(json_object_get(request, "path"));
		err = words->path && words->path[0]
			      ? 0
			      : diag_set(reterr, -EINVAL, "path is no file's name: give text");
	}
	return err;
}

/* ---- when ------------------------------------------------------------------------------------------ */

/* Disks come and go while the guest runs or is paused, whose storage works all the same. */
static bool refuse_now(const struct vm *vm, struct rpc_reply *reply)
{
	if (vm->state == VM_RUNNING || vm->state == VM_PAUSED) {
		return false;
	}
	rpc_reply_error(reply, vm->state == VM_RESETTING
				       ? "The VM is being reset: try again."
				       : "The VM is ending: its disks stay as they are.");
	return true;
}

/* ---- what takes its time --------------------------------------------------------------------------- */

/* A client that waits for a disk's job. Freed when it has been answered. */
struct wait {
	struct vm *vm;
	struct rpc_reply *reply;
	char id[VM_DISK_ID_BYTES];
	const char *what; /* "resized" */
	bool tells_size;
};

static const char *reason(int err)
{
	switch (-err) {
	case ENOSPC:
		return "the host has no room for it";
	case EOPNOTSUPP:
		return "its format or its device cannot do that";
	case EROFS:
		return "it is read-only";
	case EINVAL:
		return "its format or its device takes no such size";
	case ECANCELED:
		return "the VM ended before";
	default:
		return strerror(-err);
	}
}

static void on_job_done(void *ctx, int result)
{
	struct wait *wait = ctx;
	json_t *answer = NULL;
	uint64_t bytes;
	struct diag diag;

	if (result) {
		rpc_reply_error(wait->reply, "disk %s cannot be %s: %s", wait->id, wait->what,
				reason(result));
	} else {
		if (wait->tells_size &&
		    vm_disks_bytes(wait->vm->disks, wait->id, &bytes, &diag) == 0) {
			answer = json_pack("{s:I}", "bytes", (json_int_t)bytes);
		}
		rpc_reply_ok_take(wait->reply, answer);
	}
	free(wait);
}

/* A client that waits from now on; NULL: it has been told why not. id and words are the request's. */
static struct wait *begin_wait(struct vm *vm, const json_t *request, struct rpc_reply *reply,
			       const char *what, struct words *words)
{
	const char *id;
	struct diag diag;
	struct wait *wait;

	if (refuse_now(vm, reply)) {
		return NULL;
	}
	if (parse(request, &id, words, &diag)) {
		rpc_reply_error(reply, "%s", diag.text);
		return NULL;
	}
	wait = fault_alloc(1, sizeof(*wait));
	if (!wait) {
		rpc_reply_error(reply, "no memory");
		return NULL;
	}
	wait->vm = vm;
	wait->reply = reply;
	wait->what = what;
	snprintf(wait->id, sizeof(wait->id), "%s", id);
	return wait;
}

/* Did it begin? If not, the client hears why. */
static void check_begun(struct wait *wait, int err, const struct diag *diag)
{
	if (err) {
		rpc_reply_error(wait->reply, "%s", diag->text);
		free(wait);
	}
}

void vm_verb_disk_remove(void *ctx, const json_t *request, struct rpc_reply *reply)
{
	struct vm *vm = ctx;
	struct words words = { .known = " " };
	struct wait *wait = begin_wait(vm, request, reply, "removed", &words);
	struct diag diag;

	if (wait) {
		check_begun(wait, vm_disks_remove(vm->disks, wait->id, on_job_done, wait, &diag),
			    &diag);
	}
}

/* A smaller disk has lost what was behind its new end: that is asked for twice. */
static int check_shrink(struct vm *vm, const char *id, const struct words *words,
			struct diag *reterr)
{
	uint64_t bytes;
	int err = vm_disks_bytes(vm->disks, id, &bytes, reterr);

	if (!err && words->bytes && words->bytes < bytes && !words->shrink) {
		return diag_set(
			reterr, -EINVAL,
			"disk %s has %llu bytes, and what is behind the first %llu would be "
			"lost: give shrink=true if that is meant",
			id, (unsigned long long)bytes, (unsigned long long)words->bytes);
	}
	return err;
}

void vm_verb_disk_resize(void *ctx, const json_t *request, struct rpc_reply *reply)
{
	struct vm *vm = ctx;
	struct words words = { .known = " size shrink " };
	struct wait *wait = begin_wait(vm, request, reply, "resized", &words);
	struct diag diag;
	int err;

	if (wait) {
		wait->tells_size = true;
		err = check_shrink(vm, wait->id, &words, &diag);
		err = err ? err
			  : vm_disks_resize(vm->disks, wait->id, words.bytes, on_job_done, wait,
					    &diag);
		check_begun(wait, err, &diag);
	}
}

void vm_verb_disk_eject(void *ctx, const json_t *request, struct rpc_reply *reply)
{
	struct vm *vm = ctx;
	struct words words = { .known = " force " };
	struct wait *wait = begin_wait(vm, request, reply, "ejected", &words);
	struct diag diag;

	if (wait) {
		check_begun(
			wait,
			vm_disks_eject(vm->disks, wait->id, words.force, on_job_done, wait, &diag),
			&diag);
	}
}

void vm_verb_disk_change(void *ctx, const json_t *request, struct rpc_reply *reply)
{
	struct vm *vm = ctx;
	struct words words = { .known = " path force " };
	struct wait *wait = begin_wait(vm, request, reply, "changed", &words);
	struct diag diag;
	int err = 0;

	if (wait) {
		if (!words.path) {
			err = diag_set(&diag, -EINVAL, "disk change names no disc: give path=FILE");
		}
		err = err ? err
			  : vm_disks_change(vm->disks, wait->id, words.path, words.force,
					    on_job_done, wait, &diag);
		check_begun(wait, err, &diag);
	}
}

/* ---- disks come ------------------------------------------------------------------------------------ */

static int set_disk_word(void *ctx, const char *option, const char *key, const char *value,
			 struct diag *reterr)
{
	return vm_disk_config_set(ctx, option, key, value, reterr);
}

static int configure(const json_t *request, struct vm_disk_config *config, struct diag *reterr)
{
	const char *option = json_string_value(json_object_get(request, "verb"));
	const char *id = disk_of(request);
	int err = each_word(request, true, set_disk_word, config, reterr);

	if (!err && id) {
		err = vm_disk_config_set(config, option, "id", id, reterr);
	}
	return err ? err : vm_disk_config_finish(config, option, reterr);
}

static void add(struct vm *vm, bool is_dvd, const json_t *request, struct rpc_reply *reply)
{
	struct vm_disk_config config;
	const char *id = NULL;
	struct diag diag;

	if (refuse_now(vm, reply)) {
		return;
	}
	vm_disk_config_init(&config, is_dvd);
	int err = configure(request, &config, &diag);

	err = err ? err : vm_disks_add(vm->disks, &config, &id, &diag);
	vm_disk_config_fini(&config);
	if (err) {
		rpc_reply_error(reply, "%s", diag.text);
	} else {
		rpc_reply_ok_take(reply, json_pack("{s:s}", "id", id));
	}
}

void vm_verb_disk_add(void *ctx, const json_t *request, struct rpc_reply *reply)
{
	add(ctx, false, request, reply);
}

void vm_verb_dvd_add(void *ctx, const json_t *request, struct rpc_reply *reply)
{
	add(ctx, true, request, reply);
}

/* ---- errors that passed ---------------------------------------------------------------------------- */

void vm_verb_disk_retry(void *ctx, const json_t *request, struct rpc_reply *reply)
{
	struct vm *vm = ctx;
	struct words words = { .known = " " };
	struct diag diag;

	if (refuse_now(vm, reply)) {
		return;
	}
	if (each_word(request, true, set_word, &words, &diag) ||
	    vm_disks_retry(vm->disks, disk_of(request), &diag)) {
		rpc_reply_error(reply, "%s", diag.text);
		return;
	}
	rpc_reply_ok_take(reply, vm_state_answer(vm));
}

/* ---- limits ---------------------------------------------------------------------------------------- */

static json_t *limits_answer(const struct qos_limits *limits)
{
	return json_pack("{s:I, s:I, s:I, s:I}", "iops", (json_int_t)limits->iops, "iops-burst",
			 (json_int_t)limits->iops_burst, "bandwidth",
			 (json_int_t)limits->bytes_per_s, "bandwidth-burst",
			 (json_int_t)limits->bytes_burst);
}

/* What is in force now, or why not. */
static void answer_limits(struct rpc_reply *reply, int err, const struct diag *diag,
			  const struct qos_limits *limits)
{
	if (err) {
		rpc_reply_error(reply, "%s", diag->text);
	} else {
		rpc_reply_ok_take(reply, limits_answer(limits));
	}
}

#define LIMIT_KEYS "iops, iops-burst, bandwidth and bandwidth-burst"

static int set_limit(void *ctx, const char *option, const char *key, const char *value,
		     struct diag *reterr)
{
	int err = vm_qos_set(ctx, option, key, value, reterr);

	if (err == -ENOENT) {
		return diag_set(reterr, -EINVAL,
				"%s: unknown key \"%.32s\": known are id, " LIMIT_KEYS, option,
				key);
	}
	return err;
}

/* Only what is named changes; nothing named: what is in force is shown. */
void vm_verb_disk_qos(void *ctx, const json_t *request, struct rpc_reply *reply)
{
	struct vm *vm = ctx;
	struct qos_limits limits;
	const char *id;
	struct diag diag;
	int err = need_disk(request, &id, &diag);

	err = err ? err : vm_disks_qos(vm->disks, id, &limits, &diag);
	err = err ? err : each_word(request, true, set_limit, &limits, &diag);
	err = err ? err : vm_disks_set_qos(vm->disks, id, &limits, &diag);
	answer_limits(reply, err, &diag, &limits);
}

static int set_policy_word(void *ctx, const char *option, const char *key, const char *value,
			   struct diag *reterr)
{
	return vm_policy_config_set(ctx, option, key, value, reterr);
}

static int policy_name(const json_t *request, struct vm_policy_config *config, struct diag *reterr)
{
	char number[NUMBER_BYTES];
	const char *option = json_string_value(json_object_get(request, "verb"));
	const char *name = word_of(json_object_get(request, "name"), number);

	return name ? vm_policy_config_set(config, option, "name", name, reterr)
		    : diag_set(reterr, -EINVAL, "%s names no policy: give name=NAME", option);
}

void vm_verb_policy_add(void *ctx, const json_t *request, struct rpc_reply *reply)
{
	struct vm *vm = ctx;
	struct vm_policy_config config = { .name = "" };
	struct diag diag;
	int err = policy_name(request, &config, &diag);

	err = err ? err : each_word(request, false, set_policy_word, &config, &diag);
	err = err ? err : vm_disks_add_policy(vm->disks, &config, &diag);
	answer_limits(reply, err, &diag, &config.qos);
}

/* As `disk qos`. */
void vm_verb_policy_set(void *ctx, const json_t *request, struct rpc_reply *reply)
{
	struct vm *vm = ctx;
	struct vm_policy_config config = { .name = "" };
	struct diag diag;
	int err = policy_name(request, &config, &diag);

	err = err ? err : vm_disks_policy(vm->disks, config.name, &config.qos, &diag);
	err = err ? err : each_word(request, false, set_policy_word, &config, &diag);
	err = err ? err : vm_disks_set_policy(vm->disks, config.name, &config.qos, &diag);
	answer_limits(reply, err, &diag, &config.qos);
}

/* ---- for people ------------------------------------------------------------------------------------ */

void vm_verb_disk_list(void *ctx, const json_t *request, struct rpc_reply *reply)
{
	struct vm *vm = ctx;
	json_t *result = json_pack("{s:[]}", "list");
	struct inspect at = { result };

	(void)request;
	vm_disks_inspect(vm->disks, &at);
	rpc_reply_ok_take(reply, result);
}

void vm_verb_policy_list(void *ctx, const json_t *request, struct rpc_reply *reply)
{
	struct vm *vm = ctx;
	json_t *result = json_pack("{s:[]}", "policies");
	struct inspect at = { result };

	(void)request;
	vm_disks_inspect_policies(vm->disks, &at);
	rpc_reply_ok_take(reply, result);
}
