/* SPDX-License-Identifier: MIT */
/*
 * A switch with extensions, and an extension that is nothing but its socket and its memory: what it
 * answers is the test's to say, sense or nonsense.
 */
#pragma once

#include <fcntl.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "switch_rig.h"
#include "vswitch/ext.h"

struct ext_rig {
	struct rig rig;
	struct exts *exts;
	char path[64];
	struct ext_rules rules; /* of whoever comes next */
	int refuses;            /* or this errno */
	unsigned int stages_told;
};

struct fake {
	int fd;
	struct vsext_welcome welcome;
	int fds[VSEXT_FDS_MAX];
	unsigned int fd_count;
	uint8_t *asks, *answers;
	uint32_t consumed[VSEXT_CORES_MAX], produced[VSEXT_CORES_MAX];
};

static inline int ext_rig_admit(void *ctx, const char *name, enum vsext_kind kind, uid_t uid,
				struct ext_rules *rules, struct diag *reterr)
{
	struct ext_rig *rig = ctx;

	(void)kind;
	assert_int_equal(uid, getuid());
	*rules = rig->rules;
	return rig->refuses ? diag_set(reterr, rig->refuses, "%s may not", name) : 0;
}

/* As the switch process does: the hooks, and what is wanted at each port. */
static inline void ext_rig_adopt(struct ext_rig *rig)
{
	rig->rig.policy->ext = &exts_hooks;
	rig->rig.policy->ext_ctx = rig->exts;
	for (unsigned int i = 0; i < VSWITCH_PORTS_MAX; i++) {
		rig->rig.policy->ports[i].ext = exts_stages(rig->exts, (uint16_t)i);
	}
	rig_adopt(&rig->rig);
	exts_ports_changed(rig->exts);
}

static inline void ext_rig_stages(void *ctx)
{
	struct ext_rig *rig = ctx;

	rig->stages_told++;
	ext_rig_adopt(rig);
}

static const struct exts_events ext_rig_events = {
	.admit = ext_rig_admit,
	.stages_changed = ext_rig_stages,
};

static inline int ext_rig_listen(struct ext_rig *rig)
{
	static unsigned int count;
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	snprintf(rig->path, sizeof(rig->path), "/tmp/tabique-ext-%d-%u.sock", getpid(), count++);
	memcpy(address.sun_path, rig->path, sizeof(rig->path));
	unlink(rig->path);
	assert_int_equal(bind(fd, (const struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(listen(fd, 16), 0);
	return fd;
}

/* Four guests, spread over the cores. */
static inline struct ext_rig *ext_rig_create(unsigned int cores)
{
	struct ext_rig *rig = calloc(1, sizeof(*rig));
	struct exts_config config = { .events = &ext_rig_events, .ctx = rig };

	/* Who is not late on purpose is not late because the machine is slow. */
	rig->rules.deadline_ns = EXT_DEADLINE_MAX_NS;
	rig_init(&rig->rig, cores);
	config.vswitch = rig->rig.vswitch;
	config.control = rig->rig.loops[0];
	config.listen_fd = ext_rig_listen(rig);
	assert_int_equal(exts_create(&config, &rig->exts), 0);
	for (unsigned int i = 0; i < 4; i++) {
		rig_plug(&rig->rig, i, i % cores);
	}
	ext_rig_adopt(rig);
	return rig;
}

static inline void ext_rig_destroy(struct ext_rig *rig)
{
	exts_stop(rig->exts);
	rig_fini(&rig->rig);
	exts_destroy(rig->exts);
	unlink(rig->path);
	free(rig);
}

/* ---- the extension ---- */

static inline struct vsext_hello fake_hello(enum vsext_kind kind)
{
	struct vsext_hello hello = {
		.header = { VSEXT_MSG_HELLO, 0, sizeof(hello) },
		.version = VSEXT_VERSION,
		.kind = (uint8_t)kind,
		.directions = (uint8_t)(kind == VSEXT_FORWARD ? 0 : VSEXT_IN),
		.name = "fake",
	};

	return hello;
}

static inline void fake_dial(struct ext_rig *rig, struct fake *fake)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };

	memset(fake, 0, sizeof(*fake));
	memcpy(address.sun_path, rig->path, sizeof(rig->path));
	fake->fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	assert_int_equal(connect(fake->fd, (const struct sockaddr *)&address, sizeof(address)), 0);
}

static inline void fake_take_fds(struct fake *fake, struct msghdr *msg)
{
	for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c)) {
		fake->fd_count = (unsigned int)((c->cmsg_len - CMSG_LEN(0)) / sizeof(int));
		memcpy(fake->fds, CMSG_DATA(c), fake->fd_count * sizeof(int));
	}
}

/* What the switch says next: bytes, 0 (it has hung up), or -EAGAIN. */
static inline int fake_hear(struct fake *fake, void *buf, size_t bytes)
{
	union {
		struct cmsghdr header;
		uint8_t bytes[CMSG_SPACE(VSEXT_FDS_MAX * sizeof(int))];
	} control;
	struct iovec iov = { buf, bytes };
	struct msghdr msg = { .msg_iov = &iov,
			      .msg_iovlen = 1,
			      .msg_control = control.bytes,
			      .msg_controllen = sizeof(control.bytes) };
	ssize_t n = recvmsg(fake->fd, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);

	if (n < 0) {
		return -errno;
	}
	fake_take_fds(fake, &msg);
	return (int)n;
}

/* HELLO; what WELCOME says. */
static inline int fake_greet(struct ext_rig *rig, struct fake *fake,
			     const struct vsext_hello *hello)
{
	size_t region;

	fake_dial(rig, fake);
	assert_int_equal(send(fake->fd, hello, sizeof(*hello), 0), sizeof(*hello));
	rig_turn(&rig->rig);
	assert_int_equal(fake_hear(fake, &fake->welcome, sizeof(fake->welcome)),
			 sizeof(fake->welcome));
	assert_int_equal(fake->welcome.header.type, VSEXT_MSG_WELCOME);
	if (fake->welcome.status) {
		assert_int_equal(fake->fd_count, 0);
		return fake->welcome.status;
	}
	assert_int_equal(fake->fd_count, 2 + fake->welcome.cores);
	region = (size_t)fake->welcome.cores * VSEXT_ASKS_BYTES;
	fake->asks = mmap(NULL, region, PROT_READ, MAP_SHARED, fake->fds[0], 0);
	region = (size_t)fake->welcome.cores * fake->welcome.answers_bytes;
	fake->answers = mmap(NULL, region, PROT_READ | PROT_WRITE, MAP_SHARED, fake->fds[1], 0);
	assert_ptr_not_equal(fake->asks, MAP_FAILED);
	assert_ptr_not_equal(fake->answers, MAP_FAILED);
	return 0;
}

static inline void fake_connect(struct ext_rig *rig, struct fake *fake, enum vsext_kind kind)
{
	struct vsext_hello hello = fake_hello(kind);

	assert_int_equal(fake_greet(rig, fake, &hello), 0);
}

/* As when its process ends. */
static inline void fake_die(struct ext_rig *rig, struct fake *fake)
{
	if (fake->asks) {
		munmap(fake->asks, (size_t)fake->welcome.cores * VSEXT_ASKS_BYTES);
		munmap(fake->answers, (size_t)fake->welcome.cores * fake->welcome.answers_bytes);
	}
	for (unsigned int i = 0; i < fake->fd_count; i++) {
		close(fake->fds[i]);
	}
	close(fake->fd);
	rig_turn(&rig->rig);
}

static inline struct vsext_asks *fake_asks(const struct fake *fake, unsigned int core)
{
	return (struct vsext_asks *)(fake->asks + (size_t)core * VSEXT_ASKS_BYTES);
}

static inline struct vsext_answers *fake_answers(const struct fake *fake, unsigned int core)
{
	return (struct vsext_answers *)(fake->answers + (size_t)core * fake->welcome.answers_bytes);
}

/* The next ask of a core; its frame, or NULL. */
static inline const struct vsext_slot *fake_next(struct fake *fake, unsigned int core,
						 struct vsext_ask *ret)
{
	const uint8_t *region = (const uint8_t *)fake_asks(fake, core);

	*ret = (struct vsext_ask){ 0 };
	if (atomic_load(&fake_asks(fake, core)->produced) == fake->consumed[core]) {
		return NULL;
	}
	memcpy(ret,
	       region + VSEXT_HEADER_BYTES + fake->consumed[core]++ % VSEXT_RING * sizeof(*ret),
	       sizeof(*ret));
	assert_true(ret->slot < VSEXT_SLOTS);
	return (const struct vsext_slot *)(region + VSEXT_ASKS_SLOTS +
					   vsext_slot_offset(ret->slot));
}

static inline void fake_answer(struct fake *fake, unsigned int core, struct vsext_answer answer)
{
	uint8_t *region = (uint8_t *)fake_answers(fake, core);

	memcpy(region + VSEXT_HEADER_BYTES + fake->produced[core]++ % VSEXT_RING * sizeof(answer),
	       &answer, sizeof(answer));
	atomic_store(&fake_answers(fake, core)->produced, fake->produced[core]);
}

static inline void fake_say(struct fake *fake, unsigned int core, const struct vsext_ask *ask,
			    enum vsext_verdict verdict)
{
	fake_answer(fake, core,
		    (struct vsext_answer){
			    .slot = ask->slot, .seq = ask->seq, .verdict = (uint8_t)verdict });
}

static inline uint8_t *fake_changed(const struct fake *fake, unsigned int core, uint32_t slot)
{
	return (uint8_t *)fake_answers(fake, core) + VSEXT_ANSWERS_CHANGED +
	       vsext_slot_offset(slot);
}

static inline void fake_note(void *ctx, const struct ext_info *info)
{
	*(struct ext_info *)ctx = *info;
}

/* Of the only one there is; a name of "" when there is none. */
static inline struct ext_info fake_info(struct ext_rig *rig)
{
	struct ext_info info = { 0 };

	exts_each(rig->exts, fake_note, &info);
	return info;
}
