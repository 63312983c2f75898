/* SPDX-License-Identifier: MIT */
/* What one process leaves and the next one takes. */
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "state/save.h"
#include "sw_live_rig.h"
#include "vswitch/core.h"
#include "vswitch/fdb.h"
#include "vswitch/guard.h"
#include "vswitch/stats.h"

struct state {
	uint8_t *bytes;
	size_t length;
};

static struct state save_state(struct sw *sw, bool everything)
{
	int fd = sw_state_save(sw, everything);
	struct state state;
	struct stat st;

	assert_true(fd >= 0);
	assert_int_equal(fstat(fd, &st), 0);
	state.length = (size_t)st.st_size;
	state.bytes = malloc(state.length);
	assert_int_equal(pread(fd, state.bytes, state.length, 0), state.length);
	close(fd);
	return state;
}

static void load_state(struct sw *sw, const struct state *state)
{
	sw_state_load_names(sw, state->bytes, state->length);
	live_adopt(sw);
	sw_state_load_tables(sw, state->bytes, state->length);
}

static struct sw_config *config(const char *second)
{
	struct sw_config *config = sw_rig_config();

	sw_rig_do(&config, "port add", "name=web arp-guard=snoop");
	sw_rig_do(&config, "port add", second);
	sw_rig_do(&config, "acl add", "rule=7 port=web direction=in action=count");
	return config;
}

struct binding_of {
	struct sw *sw;
	const char *port;
	uint64_t address;
	uint32_t left_s; /* UINT32_MAX: for ever */
	bool is_there;
};

static void bind_on_core(struct core *core, void *arg)
{
	const struct binding_of *of = arg;
	struct guard_binding binding = { .ip = { 0, 0xffff00000000 | of->address },
					 .until_s = of->left_s == UINT32_MAX
							    ? GUARD_FOREVER
							    : core_now_s(core) + of->left_s };

	core_bind(core, (uint16_t)sw_policy_port(of->sw->config, of->port), &binding);
}

static void find_on_core(struct core *core, void *arg)
{
	struct binding_of *of = arg;
	const struct guard_policy *guard =
		core_guard(core, (uint16_t)sw_policy_port(of->sw->config, of->port));

	for (unsigned int i = 0; i < guard->binding_count; i++) {
		uint32_t until_s = guard->bindings[i].until_s;
		uint32_t left_s =
			until_s == GUARD_FOREVER ? GUARD_FOREVER : until_s - core_now_s(core);

		/* The clock may go on by a second or two between here and there, and a core's is that of its last round. */
		of->is_there |= guard->bindings[i].ip.lo == (0xffff00000000 | of->address) &&
				left_s < of->left_s + 2ULL && left_s + 3ULL > of->left_s;
		of->is_there |= guard->bindings[i].ip.lo == (0xffff00000000 | of->address) &&
				left_s == GUARD_FOREVER && of->left_s == GUARD_FOREVER;
	}
}

static void bind_at(struct sw *sw, const char *port, uint32_t address, uint32_t left_s)
{
	struct binding_of of = { .sw = sw, .port = port, .address = address, .left_s = left_s };

	vswitch_on_cores(sw->vswitch, bind_on_core, &of);
}

static bool is_bound(struct sw *sw, const char *port, uint32_t address, uint32_t left_s)
{
	struct binding_of of = { .sw = sw, .port = port, .address = address, .left_s = left_s };

	vswitch_on_cores(sw->vswitch, find_on_core, &of);
	return of.is_there;
}

static void an_upgrade_keeps_bindings_counters_and_numbers(void **state)
{
	struct state left;
	struct sw before, after;
	uint64_t frames, bytes;

	(void)state;
	live_init(&before, config("name=db arp-guard=snoop"));
	/* The numbers that a file's order would not give. */
	live_do(&before, "port remove", "port=web");
	live_do(&before, "port add", "name=web arp-guard=snoop");
	live_do(&before, "acl add", "rule=7 port=web direction=in action=count");
	bind_at(&before, "web", 0x0a000001, 1000);
	bind_at(&before, "db", 0x0a000002, UINT32_MAX);
	vswitch_rule_base(before.vswitch, (uint16_t)sw_policy_port(before.config, "web"), false, 7,
			  12, 1200);
	left = save_state(&before, true);

	live_init(&after, config("name=db arp-guard=snoop"));
	load_state(&after, &left);
	assert_true(is_bound(&after, "web", 0x0a000001, 1000));
	assert_true(is_bound(&after, "db", 0x0a000002, GUARD_FOREVER));
	assert_false(is_bound(&after, "db", 0x0a000001, 1000));
	assert_int_equal(after.parked_count, 0);
	vswitch_rule_stats(after.vswitch, (uint16_t)sw_policy_port(after.config, "web"), false, 0,
			   &frames, &bytes);
	assert_int_equal(frames, 12);
	assert_int_equal(bytes, 1200);
	free(left.bytes);
	live_fini(&before);
	live_fini(&after);
}

/* Who was killed has left only what it must: no numbers, no tables. */
static void a_binding_waits_for_the_port_that_a_worker_brings(void **state)
{
	struct state left, again;
	struct sw before, after;
	struct diag diag;

	(void)state;
	live_init(&before, config("name=vm1/net0 arp-guard=snoop"));
	bind_at(&before, "vm1/net0", 0x0a000003, 500);
	bind_at(&before, "web", 0x0a000001, 1000);
	left = save_state(&before, false);

	live_init(&after, config("name=other"));
	load_state(&after, &left);
	assert_true(is_bound(&after, "web", 0x0a000001, 1000));
	assert_int_equal(after.parked_count, 1);
	/* and is not forgotten should this one be killed, too */
	again = save_state(&after, false);
	live_do(&after, "profile add", "name=default arp-guard=snoop");
	assert_int_equal(sw_config_add_auto(after.config, "vm1/net0", &diag), 0);
	live_adopt(&after);
	sw_bindings_restore(&after);
	assert_true(is_bound(&after, "vm1/net0", 0x0a000003, 500));
	assert_int_equal(after.parked_count, 0);
	assert_null(after.parked);
	live_fini(&before);

	live_init(&before, config("name=vm1/net0 arp-guard=snoop"));
	load_state(&before, &again);
	assert_true(is_bound(&before, "vm1/net0", 0x0a000003, 500));
	assert_true(is_bound(&before, "web", 0x0a000001, 1000));
	/* a port that does not learn that way any more has none of it */
	live_do(&before, "port set", "port=web arp-guard=off");
	load_state(&before, &again);
	assert_false(is_bound(&before, "web", 0x0a000001, 1000));
	free(left.bytes);
	free(again.bytes);
	live_fini(&before);
	live_fini(&after);
}

/* By hand: the tags are for ever. */
static struct state write_binding(uint64_t written_s, const char *port, uint32_t left_s)
{
	static const uint8_t ip[16] = { [10] = 0xff, [11] = 0xff, [12] = 10, [15] = 9 };
	struct state state;
	const uint8_t *bytes;
	struct save save;

	save_init(&save);
	save_u64(&save, 7, written_s);
	save_group_begin(&save, 5);
	save_bytes(&save, 1, port, strlen(port));
	save_bytes(&save, 2, ip, sizeof(ip));
	save_u32(&save, 3, left_s);
	save_group_end(&save);
	assert_int_equal(save_finish(&save, &bytes, &state.length), 0);
	state.bytes = malloc(state.length);
	memcpy(state.bytes, bytes, state.length);
	save_fini(&save);
	return state;
}

static void a_lease_goes_on_while_nobody_runs(void **state)
{
	uint64_t now_s = (uint64_t)time(NULL);
	static const struct {
		uint32_t ago_s, left_s, wanted_s; /* wanted 0: it is over */
	} cases[] = { { 0, 1000, 1000 }, { 400, 1000, 600 }, { 1000, 1000, 0 }, { 5000, 1000, 0 } };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct state left = write_binding(now_s - cases[i].ago_s, "web", cases[i].left_s);
		struct sw sw;

		live_init(&sw, config("name=db"));
		load_state(&sw, &left);
		assert_int_equal(is_bound(&sw, "web", 0x0a000009, cases[i].wanted_s),
				 cases[i].wanted_s != 0);
		assert_false(cases[i].wanted_s == 0 && is_bound(&sw, "web", 0x0a000009, 1000));
		free(left.bytes);
		live_fini(&sw);
	}
}

static void nonsense_is_not_believed(void **state)
{
	struct state left = write_binding(0, "no name", UINT32_MAX - 1);
	struct sw sw;

	(void)state;
	live_init(&sw, config("name=db"));
	load_state(&sw, &left);
	assert_int_equal(sw.parked_count, 0);
	free(left.bytes);
	left = write_binding(UINT64_MAX, "web", UINT32_MAX - 1);
	for (size_t length = 0; length < left.length; length++) {
		const struct state cut = { left.bytes, length };

		load_state(&sw, &cut);
		assert_false(is_bound(&sw, "web", 0x0a000009, GUARD_FOREVER));
	}
	load_state(&sw, &left);
	assert_true(is_bound(&sw, "web", 0x0a000009, GUARD_FOREVER));
	free(left.bytes);
	live_fini(&sw);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_upgrade_keeps_bindings_counters_and_numbers),
		cmocka_unit_test(a_binding_waits_for_the_port_that_a_worker_brings),
		cmocka_unit_test(a_lease_goes_on_while_nobody_runs),
		cmocka_unit_test(nonsense_is_not_believed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
