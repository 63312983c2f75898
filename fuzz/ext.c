/* SPDX-License-Identifier: MIT */
/*
 * A hostile extension: what it says in HELLO and later, what it writes into its memory, when it dies. The
 * switch's memory must stay whole, nothing is held for ever, and frames pass when it has gone.
 *
 * Input: a byte for its rules, HELLO (a kind, or 160 bytes), then steps: an operation and its operands.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/check.h"
#include "base/num.h"
#include "vswitch/ext.h"
#include "vswitch/policy.h"
#include "vswitch/port.h"
#include "vswitch/vswitch.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define PORTS     3U
#define STEPS_MAX 200
#define FRAME_MAX 4000U

struct nic {
	struct net_front front;
	struct net *net;
	unsigned int frames;
};

struct world {
	struct loop *loop;
	struct vswitch *vswitch;
	struct exts *exts;
	struct policy *policy;
	struct nic nics[PORTS];
	uint8_t rules;
	bool is_done;
	/* the extension */
	struct bytes_cursor in;
	int fd, fds[VSEXT_FDS_MAX];
	unsigned int fd_count;
	uint8_t *asks, *answers;
	size_t answers_bytes;
	uint32_t consumed, produced;
};

static struct world *current; /* for callbacks without a context */

static int on_deliver(struct net_front *front, const struct net_frame *frame)
{
	uint32_t bytes = 0;

	for (int i = 0; i < frame->iov_count; i++) {
		bytes += (uint32_t)frame->iov[i].iov_len;
	}
	check(bytes == frame->bytes);
	container_of(front, struct nic, front)->frames++;
	return 0;
}

static void on_nothing(struct net_front *front)
{
	(void)front;
}

static const struct net_front_ops nic_ops = {
	.deliver = on_deliver,
	.batch_end = on_nothing,
	.writable = on_nothing,
	.link_changed = on_nothing,
};

static int admit(void *ctx, const char *name, enum vsext_kind kind, uid_t uid,
		 struct ext_rules *rules, struct diag *reterr)
{
	const struct world *world = ctx;

	(void)name;
	(void)kind;
	(void)uid;
	rules->drops_on_failure = world->rules & 1;
	rules->deadline_ns = world->rules & 2 ? 1 : EXT_DEADLINE_MAX_NS;
	return world->rules & 4 ? diag_set(reterr, -EPERM, "no") : 0;
}

static void adopt(void *ctx)
{
	struct world *world = ctx;
	struct policy *next;

	for (unsigned int i = 0; i < PORTS; i++) {
		world->policy->ports[i].ext = exts_stages(world->exts, (uint16_t)i);
	}
	policy_seal(world->policy);
	check(policy_copy(world->policy, &next) == 0);
	vswitch_adopt(world->vswitch, world->policy);
	world->policy = next;
	exts_ports_changed(world->exts);
}

static const struct exts_events events = { .admit = admit, .stages_changed = adopt };

static void turn(struct world *world)
{
	for (int i = 0; i < 4; i++) {
		(void)loop_turn(world->loop);
	}
}

/* Listens at a name that the kernel finds; connects to it. */
static void make_sockets(struct world *world, int *ret_listen)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	socklen_t bytes = sizeof(address);

	*ret_listen = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	check(bind(*ret_listen, (const struct sockaddr *)&address, sizeof(sa_family_t)) == 0);
	check(listen(*ret_listen, 4) == 0);
	check(getsockname(*ret_listen, (struct sockaddr *)&address, &bytes) == 0);
	world->fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	check(connect(world->fd, (const struct sockaddr *)&address, bytes) == 0);
}

static void make_mac(unsigned int port, uint8_t *mac)
{
	const uint8_t bytes[6] = { 2, 0, 0, 0, 0, (uint8_t)(port + 1) };

	memcpy(mac, bytes, 6);
}

static void set_up(struct world *world)
{
	struct vswitch_config config = {
		.core_count = 1, .secret = 7, .fdb_entries = 64, .flows = 64
	};
	struct exts_config exts = { .events = &events, .ctx = world };
	struct diag diag;

	check(loop_create("fuzz", &world->loop, &diag) == 0);
	config.control = config.loops[0] = world->loop;
	check(vswitch_create(&config, &world->vswitch) == 0);
	exts.vswitch = world->vswitch;
	exts.control = world->loop;
	make_sockets(world, &exts.listen_fd);
	check(exts_create(&exts, &world->exts) == 0);
	check(policy_create(&world->policy) == 0);
	world->policy->ext = &exts_hooks;
	world->policy->ext_ctx = world->exts;
	for (unsigned int i = 0; i < PORTS; i++) {
		policy_port_init(world->policy, (uint16_t)i, PORT_GUEST);
	}
	adopt(world);
	for (unsigned int i = 0; i < PORTS; i++) {
		struct net_front_config front = { .mtu = 1500 };
		struct nic *nic = &world->nics[i];

		check(vswitch_port_add(world->vswitch, (uint16_t)i, "port") == 0);
		check(port_guest_create(world->vswitch, (uint16_t)i, world->loop, &nic->net) == 0);
		nic->front.ops = &nic_ops;
		make_mac(i, front.mac);
		check(net_attach(nic->net, &nic->front, &front) == 0);
	}
	turn(world);
}

/* ---- the extension ---- */

static void take_welcome(struct world *world)
{
	union {
		struct cmsghdr header;
		uint8_t bytes[CMSG_SPACE(VSEXT_FDS_MAX * sizeof(int))];
	} control;
	struct vsext_welcome welcome;
	struct iovec iov = { &welcome, sizeof(welcome) };
	struct msghdr msg = { .msg_iov = &iov,
			      .msg_iovlen = 1,
			      .msg_control = control.bytes,
			      .msg_controllen = sizeof(control.bytes) };
	struct cmsghdr *c;

	if (recvmsg(world->fd, &msg, MSG_DONTWAIT) != (ssize_t)sizeof(welcome) || welcome.status) {
		return;
	}
	c = CMSG_FIRSTHDR(&msg);
	check(c);
	world->fd_count = (unsigned int)((c->cmsg_len - CMSG_LEN(0)) / sizeof(int));
	check(world->fd_count == 3);
	memcpy(world->fds, CMSG_DATA(c), 3 * sizeof(int));
	world->answers_bytes = welcome.answers_bytes;
	world->asks = mmap(NULL, VSEXT_ASKS_BYTES, PROT_READ, MAP_SHARED, world->fds[0], 0);
	world->answers = mmap(NULL, world->answers_bytes, PROT_READ | PROT_WRITE, MAP_SHARED,
			      world->fds[1], 0);
	check(world->asks != MAP_FAILED && world->answers != MAP_FAILED);
}

static void say_hello(struct world *world)
{
	struct vsext_hello hello = {
		.header = { VSEXT_MSG_HELLO, 0, sizeof(hello) },
		.version = VSEXT_VERSION,
		.name = "fuzz",
	};
	uint8_t kind = bytes_take_u8(&world->in);

	hello.kind = (uint8_t)(kind % 3 + 1);
	hello.directions = hello.kind == VSEXT_FORWARD ? 0 : (uint8_t)(kind / 4 % 3 + 1);
	if (kind >= 192) {
		(void)bytes_take_copy(&world->in, &hello, sizeof(hello));
	}
	(void)!send(world->fd, &hello, sizeof(hello), MSG_NOSIGNAL);
	turn(world);
	take_welcome(world);
}

static void send_frame(struct world *world)
{
	static uint8_t frame[FRAME_MAX];
	uint8_t from = bytes_take_u8(&world->in) % PORTS, given = bytes_take_u8(&world->in);
	struct iovec iov[3] = { { 0 }, { frame, bytes_take_le16(&world->in) % FRAME_MAX } };
	struct net_frame net = { .iov = iov + 1,
				 .iov_count = 1,
				 .bytes = (uint32_t)iov[1].iov_len };
	unsigned int taken;

	memset(frame, 0, sizeof(frame));
	make_mac((from + 1U) % PORTS, frame);
	make_mac(from, frame + 6);
	(void)bytes_take_copy(&world->in, frame + 12, given);
	if (net.bytes > 1500) {
		net.flags = NET_FRAME_LSO;
		net.mss = 500;
		net.l4 = NET_L4_TCP;
	}
	(void)!net_send_many(world->nics[from].net, &net, 1, &taken);
}

static struct vsext_answers *answers(const struct world *world)
{
	return (struct vsext_answers *)world->answers;
}

static void put_answer(struct world *world, const struct vsext_answer *answer)
{
	memcpy(world->answers + VSEXT_HEADER_BYTES +
		       world->produced++ % VSEXT_RING * sizeof(*answer),
	       answer, sizeof(*answer));
	atomic_store(&answers(world)->produced, world->produced);
}

/* A right one, but for what it says. */
static void answer_next(struct world *world, bool is_kept)
{
	const struct vsext_asks *asks = (const struct vsext_asks *)world->asks;
	struct vsext_answer answer = { .verdict = bytes_take_u8(&world->in) };
	struct vsext_ask ask;

	if (atomic_load(&asks->produced) == world->consumed) {
		return;
	}
	memcpy(&ask, world->asks + VSEXT_HEADER_BYTES + world->consumed % VSEXT_RING * sizeof(ask),
	       sizeof(ask));
	world->consumed += !is_kept;
	check(ask.slot < VSEXT_SLOTS);
	answer.slot = ask.slot;
	answer.seq = ask.seq;
	answer.bytes = bytes_take_le16(&world->in);
	answer.to[0] = bytes_take_u8(&world->in);
	if (world->answers_bytes == VSEXT_ANSWERS_BYTES) {
		const uint8_t *slot = world->asks + VSEXT_ASKS_SLOTS + vsext_slot_offset(ask.slot);
		uint8_t *changed =
			world->answers + VSEXT_ANSWERS_CHANGED + vsext_slot_offset(ask.slot);

		memcpy(changed, slot + sizeof(struct vsext_slot), vsext_slot_room(ask.slot));
		(void)bytes_take_copy(&world->in, changed + bytes_take_u8(&world->in), 6);
	}
	put_answer(world, &answer);
}

static void put_garbage(struct world *world)
{
	struct vsext_answer answer;

	(void)bytes_take_copy(&world->in, &answer, sizeof(answer));
	put_answer(world, &answer);
}

static void step(struct world *world)
{
	uint8_t op = bytes_take_u8(&world->in);

	if (op % 8 > 1 && op % 8 < 6 && !world->answers) {
		return;
	}
	switch (op % 8) {
	case 0:
		send_frame(world);
		return;
	case 1:
		turn(world);
		return;
	case 2:
		answer_next(world, false);
		return;
	case 3:
		answer_next(world, true);
		return;
	case 4:
		put_garbage(world);
		return;
	case 5:
		world->produced = bytes_take_le32(&world->in);
		atomic_store(&answers(world)->produced, world->produced);
		atomic_store(&answers(world)->sleeping, bytes_take_u8(&world->in));
		return;
	case 6:
		(void)!send(world->fd, world->in.at, num_min(world->in.left, op), MSG_NOSIGNAL);
		return;
	default:
		shutdown(world->fd, SHUT_RDWR);
		return;
	}
}

static void die(struct world *world)
{
	if (world->asks) {
		munmap(world->asks, VSEXT_ASKS_BYTES);
		munmap(world->answers, world->answers_bytes);
	}
	for (unsigned int i = 0; i < world->fd_count; i++) {
		close(world->fds[i]);
	}
	close(world->fd);
	turn(world);
}

/* ---- what must hold ---- */

static void on_info(void *ctx, const struct ext_info *info)
{
	(void)info;
	(*(unsigned int *)ctx)++;
}

static void frames_pass_without_it(struct world *world)
{
	uint8_t frame[60] = { 0 };
	struct iovec iov[2] = { { 0 }, { frame, sizeof(frame) } };
	struct net_frame net = { .iov = iov + 1, .iov_count = 1, .bytes = sizeof(frame) };
	unsigned int left = 0, taken, before = world->nics[1].frames;

	exts_each(world->exts, on_info, &left);
	check(left == 0);
	make_mac(1, frame);
	make_mac(0, frame + 6);
	check(net_send_many(world->nics[0].net, &net, 1, &taken) == 0);
	turn(world);
	check(world->nics[1].frames == before + 1);
}

static void on_done(struct loop_work *work)
{
	(void)work;
	current->is_done = true;
}

static void wait_done(struct world *world)
{
	while (!world->is_done) {
		turn(world);
	}
	world->is_done = false;
}

static void tear_down(struct world *world)
{
	struct loop_work done;

	exts_stop(world->exts);
	for (unsigned int i = 0; i < PORTS; i++) {
		loop_work_init(&done, on_done);
		net_stop(world->nics[i].net, &done);
		wait_done(world);
		net_destroy(world->nics[i].net);
		vswitch_port_remove(world->vswitch, (uint16_t)i);
	}
	loop_work_init(&done, on_done);
	vswitch_stop(world->vswitch, &done);
	wait_done(world);
	vswitch_destroy(world->vswitch);
	exts_destroy(world->exts);
	policy_destroy(world->policy);
	loop_destroy(world->loop);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct world world = { .in = bytes_cursor(data, size), .fd = -1 };

	current = &world;
	world.rules = bytes_take_u8(&world.in);
	set_up(&world);
	say_hello(&world);
	for (int i = 0; i < STEPS_MAX && world.in.left > 0; i++) {
		step(&world);
	}
	turn(&world);
	die(&world);
	frames_pass_without_it(&world);
	tear_down(&world);
	return 0;
}
