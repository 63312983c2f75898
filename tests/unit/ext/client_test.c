/* SPDX-License-Identifier: MIT */
/*
 * The library for extensions against a real switch: two cores, one of them with a thread of its own, and the
 * extension in another. Also for the thread sanitizer.
 */
#include <pthread.h>
#include <time.h>

#include "ext/ext_client.h"
#include "unit/vswitch/ext_rig.h"

#define FRAMES 2000U
#define BURST  32U

struct extension {
	struct ext_client_config config;
	const char *path;
	unsigned int limit; /* ends after so many frames; 0: when the switch has gone */
	unsigned int drops; /* every so many-th */
	unsigned int frames, odd;
	_Atomic(bool) is_up, is_over;
	int err;
	uint64_t seen;
};

static void answer(struct extension *ext, struct ext_client *client, const struct ext_frame *frame)
{
	uint64_t ports[VSEXT_PORTS_MAX / 64] = { 1U << 2 };

	ext->frames++;
	ext->odd += frame->slot->bytes != 60 || !ext_client_port(client, frame->slot->port);
	if (ext->drops && ext->frames % ext->drops == 0) {
		ext_client_drop(client, frame);
	} else if (ext->config.kind == VSEXT_FORWARD) {
		ext_client_send(client, frame, ports);
	} else if (ext->config.kind == VSEXT_FILTER && ext->frames % 2) {
		memcpy(frame->changed, frame->bytes, frame->slot->bytes);
		ext_client_change(client, frame, frame->slot->bytes);
	} else {
		ext_client_pass(client, frame);
	}
}

static void *run(void *arg)
{
	struct extension *ext = arg;
	struct ext_client *client;
	struct ext_frame frame;
	struct diag diag;

	ext->err = ext_client_open(ext->path, &ext->config, &client, &diag);
	ext->is_up = true;
	while (!ext->err && (ext->limit == 0 || ext->frames < ext->limit)) {
		int n = ext_client_next(client, 5000, &frame);

		if (n > 0) {
			answer(ext, client, &frame);
		}
		ext->err = n < 0 ? n : 0;
	}
	if (ext->is_up && ext->err != -EBUSY) {
		ext_client_close(client);
	}
	ext->is_over = true;
	return NULL;
}

static void start_thread_of_core(struct rig *rig)
{
	struct diag diag;

	assert_int_equal(loop_start_thread(rig->loops[1], &diag), 0);
	rig->has_threads = true;
}

static void wait_up(struct ext_rig *rig, struct extension *ext)
{
	while (!ext->is_up || fake_info(rig).name[0] == '\0') {
		rig_turn(&rig->rig);
	}
	rig_turn(&rig->rig);
}

/* From port 0 to port 2, both on this thread's core; what came there so far. */
static unsigned int send_frames(struct ext_rig *rig, unsigned int count)
{
	uint8_t frame[60];

	rig_frame(frame, 0, 2, 0x88b5, 60);
	for (unsigned int i = 0; i < count; i++) {
		assert_int_equal(rig_send_flags(&rig->rig, 0, frame, 60, 0, 0), 0);
		if (i % BURST == BURST - 1) {
			while (fake_info(rig).held > 0) {
				rig_turn(&rig->rig);
			}
		}
	}
	while (fake_info(rig).held > 0) {
		rig_turn(&rig->rig);
	}
	return rig->rig.nics[2].count;
}

static void frames_go_through_an_extension(enum vsext_kind kind)
{
	struct ext_rig *rig = ext_rig_create(2);
	struct extension ext = {
		.config = { .kind = kind,
			    .name = "library",
			    .directions = (uint8_t)(kind == VSEXT_FORWARD ? 0 : VSEXT_IN) },
		.path = rig->path,
		.drops = kind == VSEXT_CAPTURE ? 0 : 4
	};
	struct ext_info info;
	pthread_t thread;
	unsigned int got;

	rig->rules =
		(struct ext_rules){ .drops_on_failure = true, .deadline_ns = EXT_DEADLINE_MAX_NS };
	start_thread_of_core(&rig->rig);
	assert_int_equal(pthread_create(&thread, NULL, run, &ext), 0);
	wait_up(rig, &ext);
	got = send_frames(rig, FRAMES);
	info = fake_info(rig);
	exts_stop(rig->exts);
	pthread_join(thread, NULL);
	assert_int_equal(ext.err, -EPIPE);
	assert_int_equal(ext.odd, 0);
	assert_int_equal(info.bad, 0);
	assert_int_equal(info.asked + info.full + info.bypassed, FRAMES);
	if (kind == VSEXT_CAPTURE) {
		assert_int_equal(got, FRAMES);
	} else {
		assert_int_equal(got, info.passed + info.changed + info.sent);
		assert_true(info.dropped > 0);
	}
	rig->rig.nics[2].count = 0;
	ext_rig_destroy(rig);
}

static void a_capture_sees_and_holds_nothing_up(void **state)
{
	(void)state;
	frames_go_through_an_extension(VSEXT_CAPTURE);
}

static void a_filter_in_another_thread_decides(void **state)
{
	(void)state;
	frames_go_through_an_extension(VSEXT_FILTER);
}

static void a_forwarder_in_another_thread_decides(void **state)
{
	(void)state;
	frames_go_through_an_extension(VSEXT_FORWARD);
}

static void one_that_ends_in_the_middle_is_not_missed(void **state)
{
	struct ext_rig *rig = ext_rig_create(2);
	struct extension ext = {
		.config = { .kind = VSEXT_FILTER, .name = "library", .directions = VSEXT_IN },
		.path = rig->path,
		.limit = 100,
	};
	pthread_t thread;

	(void)state;
	rig->rules.deadline_ns = EXT_DEADLINE_MAX_NS;
	start_thread_of_core(&rig->rig);
	assert_int_equal(pthread_create(&thread, NULL, run, &ext), 0);
	wait_up(rig, &ext);
	assert_int_equal(send_frames(rig, FRAMES), FRAMES);
	pthread_join(thread, NULL);
	assert_int_equal(ext.err, 0);
	ext_rig_destroy(rig);
}

static void who_listens_nowhere_is_not_there(void **state)
{
	struct ext_client_config config = { .kind = VSEXT_CAPTURE,
					    .name = "x",
					    .directions = VSEXT_IN };
	struct ext_client *client;
	struct diag diag;
	char name[200];

	(void)state;
	assert_int_equal(ext_client_open("/nonexistent/x.ext", &config, &client, &diag), -ENOENT);
	memset(name, 'x', sizeof(name) - 1);
	name[sizeof(name) - 1] = '\0';
	setenv("TABIQUE_SWITCH_DIR", "/tmp", 1);
	assert_int_equal(ext_client_open(name, &config, &client, &diag), -ENAMETOOLONG);
	ext_client_close(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_capture_sees_and_holds_nothing_up),
		cmocka_unit_test(a_filter_in_another_thread_decides),
		cmocka_unit_test(a_forwarder_in_another_thread_decides),
		cmocka_unit_test(one_that_ends_in_the_middle_is_not_missed),
		cmocka_unit_test(who_listens_nowhere_is_not_there),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
