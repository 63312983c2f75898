/* SPDX-License-Identifier: MIT */
/* tabique switch: makes, starts, ends and changes virtual switches. */
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/num.h"
#include "cmd/cmd.h"
#include "cmd/switch.h"
#include "cmd/switch_capture.h"
#include "cmd/switch_devices.h"
#include "rpc/rpc.h"
#include "switchd/sw_change.h"
#include "switchd/sw_devices.h"
#include "switchd/sw_file.h"
#include "vm/vm.h"

/* An upgrade waits for all workers; everything else is at once. */
#define TIMEOUT_MS 15000

static const char head[] =
	"usage: tabique switch VERB NAME [KEY=VALUE]... [--json]\n"
	"\n"
	"Virtual switches, each a process of its own (tabique-switch). All can be changed while\n"
	"guests run, and a switch that is started again is as it was.\n"
	"\n"
	"  create NAME [kind=external|internal|private] [uplink=DEV]... [nat=PREFIX] "
	"[KEY=VALUE]...\n"
	"             makes a switch and starts it; keys as those of set\n"
	"  delete NAME   ends it and removes its configuration\n"
	"  start NAME    starts one that was made before\n"
	"  list          all switches of this user\n"
	"  device allow|deny|list NAME [dev=DEV]   which devices of the host it may have\n"
	"  capture NAME [KEY=VALUE]...   what passes through it, as pcapng on standard output\n";

static const char tail[] = "\n"
			   "--json prints the answer as JSON. `tabique switch VERB --help` tells "
			   "more; the whole story\n"
			   "is in tabique-switch(1).\n"
			   "\n"
			   "exit status: 0 done; 1 the switch said no, or nonsense; 2 it cannot be "
			   "reached, or the host\n"
			   "cannot.\n";

/* What a command line says. */
struct words {
	const struct switch_verb *verb; /* NULL: one of the commands below */
	const char *command;
	const char *device; /* with the command "device": "allow", "deny" or "list" */
	const char *name;   /* of the switch; NULL: none */
	char **pairs;
	size_t count;
	bool is_json, is_help;
};

static int usage(FILE *to)
{
	fputs(head, to);
	for (size_t i = 0; i < switch_verb_count; i++) {
		fprintf(to, "  %s NAME %s\n", switch_verbs[i].name, switch_verbs[i].args);
	}
	fputs(tail, to);
	return to == stdout ? 0 : VM_STATUS_USER;
}

static int help_for(const struct words *words)
{
	if (!words->verb) {
		return usage(stdout);
	}
	printf("usage: tabique switch %s NAME %s\n\n%s", words->verb->name, words->verb->args,
	       words->verb->help);
	return 0;
}

static int status_of(int err)
{
	switch (-err) {
	case EINVAL:
	case ENOENT:
	case EEXIST:
	case EBUSY:
	case ENOSPC:
	case EREMOTEIO:
		return VM_STATUS_USER;
	default:
		return VM_STATUS_HOST;
	}
}

/* ---- words -------------------------------------------------------------------------------------- */

/* "port add" are two words; "groups show" and "groups" are the same. */
static int find_verb(int argc, char **argv, struct words *ret)
{
	char two[64];

	for (size_t i = 0; i < switch_verb_count; i++) {
		const struct switch_verb *verb = &switch_verbs[i];

		if (argc >= 2 && snprintf(two, sizeof(two), "%s %s", argv[0], argv[1]) > 0 &&
		    strcmp(two, verb->name) == 0) {
			ret->verb = verb;
			return 2;
		}
	}
	for (size_t i = 0; i < switch_verb_count; i++) {
		if (strcmp(argv[0], switch_verbs[i].name) == 0) {
			bool has_show =
				(strcmp(argv[0], "groups") == 0 || strcmp(argv[0], "flows") == 0) &&
				argc >= 2 && strcmp(argv[1], "show") == 0;

			ret->verb = &switch_verbs[i];
			return has_show ? 2 : 1;
		}
	}
	ret->command = argv[0];
	if (strcmp(argv[0], "device") == 0 && argc >= 2 &&
	    (strcmp(argv[1], "allow") == 0 || strcmp(argv[1], "deny") == 0 ||
	     strcmp(argv[1], "list") == 0)) {
		ret->device = argv[1];
		return 2;
	}
	return 1;
}

/* Takes --json and --help out, wherever they are. */
static int take_options(int argc, char **argv, struct words *ret)
{
	int kept = 0;

	for (int i = 0; i < argc; i++) {
		if (strcmp(argv[i], "--json") == 0) {
			ret->is_json = true;
		} else if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
			ret->is_help = true;
		} else {
			argv[kept++] = argv[i];
		}
	}
	return kept;
}

static int read_words(int argc, char **argv, struct words *ret, struct diag *reterr)
{
	int used;

	*ret = (struct words){ 0 };
	argc = take_options(argc, argv, ret);
	if (argc == 0) {
		return 0;
	}
	used = find_verb(argc, argv, ret);
	if (used < argc && !strchr(argv[used], '=')) {
		ret->name = argv[used++];
	}
	ret->pairs = argv + used;
	ret->count = (size_t)(argc - used);
	if (ret->name && !sw_switch_name_is_good(ret->name)) {
		return diag_set(reterr, -EINVAL,
				"\"%.64s\" is no name for a switch: 1 to 31 letters, digits, dots, "
				"dashes and underscores",
				ret->name);
	}
	return 0;
}

/* ---- asking a switch ---------------------------------------------------------------------------- */

static int ask(const char *name, const char *verb, char *const *pairs, size_t count,
	       json_t **ret_result, struct diag *reterr)
{
	char path[SW_PATH_BYTES];
	struct diag why;
	json_t *request;
	int err = sw_path(SW_PATH_CTL, name, path, reterr);

	err = err ? err : rpc_request_from_words(verb, pairs, count, &request, reterr);
	if (err) {
		return err;
	}
	err = rpc_call(path, request, TIMEOUT_MS, ret_result, &why);
	json_decref(request);
	if (err == -ENOENT || err == -ECONNREFUSED) {
		if (sw_path(SW_PATH_CONFIG, name, path, reterr) == 0 && access(path, F_OK)) {
			return diag_set(
				reterr, -ENOENT,
				"there is no switch %s: tabique switch list shows those that "
				"are there",
				name);
		}
		return diag_set(reterr, -ECONNREFUSED,
				"switch %s does not run: start it with tabique switch start %s",
				name, name);
	}
	if (err) {
		*reterr = why;
	}
	return err;
}

/* With what it says about the host's devices: on their list before the switch asks for them. */
static int ask_for_verb(const struct words *words, json_t **ret_result, struct diag *reterr)
{
	const char *verb = words->verb->name;
	struct switch_devices_change change;
	int err = switch_devices_before(words->name, verb, words->pairs, words->count, &change,
					reterr);

	if (err) {
		return err;
	}
	err = ask(words->name, verb, words->pairs, words->count, ret_result, reterr);
	if (err == -ECONNRESET || err == -ETIMEDOUT || err == -EPIPE || err == -EBADMSG) {
		return err; /* perhaps it has been done, and is needed at the next start */
	}
	switch_devices_after(words->name, verb, words->pairs, words->count, &change, !err);
	return err;
}

static int run_verb(const struct words *words)
{
	struct diag diag;
	json_t *result;
	int err;

	if (!words->name) {
		diag_set(&diag, 0, "which switch? tabique switch %s NAME %s", words->verb->name,
			 words->verb->args);
		return cmd_fail(VM_STATUS_USER, &diag);
	}
	err = ask_for_verb(words, &result, &diag);
	if (err) {
		return cmd_fail(status_of(err), &diag);
	}
	if (words->is_json) {
		json_dumpf(result, stdout, JSON_INDENT(2));
		putchar('\n');
	} else if (!words->verb->is_quiet || json_object_size(result) > 0) {
		switch_print(words->verb, result);
	}
	json_decref(result);
	return 0;
}

/* ---- starting ----------------------------------------------------------------------------------- */

/* Beside this program, else as PATH has it. */
static void exec_switch(const char *name, int ready_fd)
{
	char path[4096], ready[16];
	ssize_t n = readlink("/proc/self/exe", path, sizeof(path) - 32);
	char *slash;

	snprintf(ready, sizeof(ready), "%d", ready_fd);
	if (n > 0) {
		path[n] = '\0';
		slash = strrchr(path, '/');
		strcpy(slash ? slash + 1 : path, "tabique-switch");
		execl(path, "tabique-switch", "--ready-fd", ready, name, (char *)NULL);
	}
	execlp("tabique-switch", "tabique-switch", "--ready-fd", ready, name, (char *)NULL);
	dprintf(ready_fd, "cannot run tabique-switch: %s\n", strerror(errno));
	_exit(127);
}

/* In a child that nobody waits for: its own session, and nothing of ours. */
static void become_daemon(const char *name, int ready_fd)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC), log = null;
	char path[SW_PATH_BYTES];
	struct diag diag;

	if (sw_path(SW_PATH_LOG, name, path, &diag) == 0) {
		log = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
	}

	setsid();
	if (fork() != 0) {
		_exit(0);
	}
	if (null >= 0) {
		dup2(null, STDIN_FILENO);
		dup2(null, STDOUT_FILENO);
	}
	if (log >= 0 || null >= 0) {
		dup2(log >= 0 ? log : null, STDERR_FILENO);
	}
	exec_switch(name, ready_fd);
}

/* Waits for its word: "ready", or a sentence. */
static int start(const char *name, struct diag *reterr)
{
	char said[DIAG_BYTES] = "";
	size_t length = 0;
	int pipes[2], status;
	ssize_t n;
	pid_t pid;

	if (pipe2(pipes, O_CLOEXEC)) {
		return diag_set(reterr, -errno, "cannot make a pipe: %s", strerror(errno));
	}
	pid = fork();
	if (pid == 0) {
		close(pipes[0]);
		fcntl(pipes[1], F_SETFD, 0);
		become_daemon(name, pipes[1]);
	}
	close(pipes[1]);
	if (pid < 0) {
		close(pipes[0]);
		return diag_set(reterr, -errno, "cannot start a process: %s", strerror(errno));
	}
	waitpid(pid, &status, 0);
	while (length < sizeof(said) - 1 &&
	       (n = read(pipes[0], said + length, sizeof(said) - 1 - length)) > 0) {
		length += (size_t)n;
	}
	close(pipes[0]);
	said[length] = '\0';
	said[strcspn(said, "\n")] = '\0';
	if (strcmp(said, "ready") == 0) {
		return 0;
	}
	return diag_set(reterr, -EIO, "%s", said[0] ? said : "tabique-switch ended at once");
}

static int run_start(const struct words *words)
{
	struct diag diag;
	int err;

	if (!words->name || words->count) {
		diag_set(&diag, 0, "start takes the name of a switch, and nothing else");
		return cmd_fail(VM_STATUS_USER, &diag);
	}
	err = start(words->name, &diag);
	return err ? cmd_fail(VM_STATUS_HOST, &diag) : 0;
}

/* ---- making, removing, listing ------------------------------------------------------------------ */

/* What of create is another verb's: uplink=eth1 an uplink of its own, nat=10.0.2.0/24 NAT turned on. */
static int apply(struct sw_config **config, const char *verb, char *const *pairs, size_t count,
		 struct diag *reterr)
{
	struct sw_config *changed = NULL;
	json_t *request, *result = NULL;
	int err = rpc_request_from_words(verb, pairs, count, &request, reterr);

	if (err) {
		return err;
	}
	err = sw_change(*config, verb, request, &changed, &result, reterr);
	json_decref(request);
	if (!err) {
		json_decref(result);
		sw_config_destroy(*config);
		*config = changed;
	}
	return err;
}

static const struct {
	const char *word, *verb, *key, *more;
} others[] = {
	{ "uplink=", "uplink add", "dev=", NULL },
	{ "nat=", "nat set", "net=", "on=on" },
};

static int other_of(const char *pair)
{
	for (size_t i = 0; i < ARRAY_SIZE(others); i++) {
		if (strncmp(pair, others[i].word, strlen(others[i].word)) == 0) {
			return (int)i;
		}
	}
	return -1;
}

static int apply_other(struct sw_config **config, int which, const char *pair, struct diag *reterr)
{
	char own[128], more[16];
	char *pairs[2] = { own, more };

	snprintf(own, sizeof(own), "%s%s", others[which].key, pair + strlen(others[which].word));
	snprintf(more, sizeof(more), "%s", others[which].more ? others[which].more : "");
	return apply(config, others[which].verb, pairs, more[0] ? 2 : 1, reterr);
}

static int configure(struct sw_config **config, const struct words *words, struct diag *reterr)
{
	char *settings[32];
	size_t count = 0;
	int err = 0;

	for (size_t i = 0; i < words->count && count < ARRAY_SIZE(settings); i++) {
		if (other_of(words->pairs[i]) < 0) {
			settings[count++] = words->pairs[i];
		}
	}
	/* kind first: it decides whether there may be uplinks */
	err = apply(config, "set", settings, count, reterr);
	for (size_t i = 0; !err && i < words->count; i++) {
		if (other_of(words->pairs[i]) >= 0) {
			err = apply_other(config, other_of(words->pairs[i]), words->pairs[i],
					  reterr);
		}
	}
	return err;
}

static int create(const struct words *words, struct diag *reterr)
{
	auto_destroy(sw_config) struct sw_config *config = NULL, *old = NULL;
	int err;

	if (!words->name) {
		return diag_set(reterr, -EINVAL,
				"which name shall it have? tabique switch create NAME");
	}
	err = sw_file_load(words->name, &old, reterr);
	if (!err) {
		return diag_set(reterr, -EEXIST, "switch %s is there already", words->name);
	}
	if (err != -ENOENT) {
		return err;
	}
	if (sw_config_create(words->name, &config)) {
		return diag_set(reterr, -ENOMEM, "no memory");
	}
	err = configure(&config, words, reterr);
	err = err ? err : sw_path_make(reterr);
	err = err ? err : sw_devices_save_for(config, reterr);
	err = err ? err : sw_file_save(config, reterr);
	if (err) {
		return err;
	}
	err = start(words->name, reterr);
	if (err) {
		struct diag ignored;

		/* As if it had never been said. */
		(void)!sw_file_remove(words->name, &ignored);
	}
	return err;
}

static int run_create(const struct words *words)
{
	struct diag diag;
	int err = create(words, &diag);

	return err ? cmd_fail(status_of(err), &diag) : 0;
}

static int run_delete(const struct words *words)
{
	struct diag diag;
	json_t *result;
	int err;

	if (!words->name || words->count) {
		diag_set(&diag, 0, "delete takes the name of a switch, and nothing else");
		return cmd_fail(VM_STATUS_USER, &diag);
	}
	err = ask(words->name, "stop", NULL, 0, &result, &diag);
	if (!err) {
		json_decref(result);
	} else if (err != -ECONNREFUSED) {
		return cmd_fail(status_of(err), &diag);
	}
	err = sw_file_remove(words->name, &diag);
	return err ? cmd_fail(status_of(err), &diag) : 0;
}

static int list_one(void *ctx, const char *name)
{
	static const char *const kinds[] = { "external", "internal", "private" };
	auto_destroy(sw_config) struct sw_config *config = NULL;
	json_t *list = ctx, *result = NULL;
	struct diag diag;
	int err = sw_file_load(name, &config, &diag);
	bool runs = ask(name, "show", NULL, 0, &result, &diag) == 0;

	json_array_append_new(list, json_pack("{s:s, s:s, s:b, s:i}", "name", name, "kind",
					      err ? "broken" : kinds[config->settings.kind],
					      "running", runs, "ports",
					      err ? 0 : (int)config->lists[SW_LIST_PORTS].count));
	json_decref(result);
	return 0;
}

static int run_list(const struct words *words)
{
	json_t *list = json_array();
	struct diag diag;
	int err = sw_file_each(list_one, list, &diag);

	if (err) {
		json_decref(list);
		return cmd_fail(status_of(err), &diag);
	}
	if (words->is_json) {
		json_dumpf(list, stdout, JSON_INDENT(2));
		putchar('\n');
	} else {
		switch_print_table(list, "name kind running ports");
	}
	json_decref(list);
	return 0;
}

static const struct {
	const char *name;
	int (*run)(const struct words *words);
} commands[] = {
	{ "create", run_create },
	{ "delete", run_delete },
	{ "start", run_start },
	{ "list", run_list },
};

int cmd_switch(int argc, char **argv)
{
	struct words words;
	struct diag diag;

	if (read_words(argc - 1, argv + 1, &words, &diag)) {
		return cmd_fail(VM_STATUS_USER, &diag);
	}
	if (words.command && strcmp(words.command, "capture") == 0) {
		return words.is_help ? switch_capture_help()
				     : switch_capture(words.name, words.pairs, words.count);
	}
	if (words.device) {
		return words.is_help ? switch_devices_help()
				     : switch_devices(words.name, words.device, words.pairs,
						      words.count, words.is_json);
	}
	if (words.is_help) {
		return help_for(&words);
	}
	if (words.verb) {
		return run_verb(&words);
	}
	for (size_t i = 0; words.command && i < ARRAY_SIZE(commands); i++) {
		if (strcmp(words.command, commands[i].name) == 0) {
			return commands[i].run(&words);
		}
	}
	if (!words.command) {
		return usage(stderr);
	}
	diag_set(&diag, 0, "unknown verb \"%.64s\": see tabique switch --help", words.command);
	return cmd_fail(VM_STATUS_USER, &diag);
}
