/* SPDX-License-Identifier: MIT */
#include "guest/remote_rig.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/num.h"
#include "vmbus/remote_host.h"
#include "vsp/echo/echo.h"
#include "vsp/net/netvsp_loan.h"

#define LISTEN_FD 3

/* ---- a VSP with sub-channels ---- */

struct fan {
	struct vmbus_device device;
	struct loop *sub_loops[RIG_FAN_SUBS];
};

static int fan_open(struct vmbus_device *device, struct vmbus_channel *channel,
		    const uint8_t *user_data)
{
	(void)device;
	(void)channel;
	(void)user_data;
	return 0;
}

static int fan_packet(struct vmbus_device *device, struct vmbus_channel *channel,
		      const struct vmbus_packet *packet)
{
	(void)device;
	if (packet->payload_bytes < 8) {
		return -EBADMSG;
	}
	if (packet->payload[0] == 'S' && packet->payload[1] <= RIG_FAN_SUBS &&
	    vmbus_channel_index(channel) == 0) {
		vmbus_channel_offer_subs(channel, packet->payload[1]);
	}
	return vmbus_channel_complete(channel, packet->transaction_id, packet->payload,
				      packet->payload_bytes);
}

static void fan_writable(struct vmbus_device *device, struct vmbus_channel *channel)
{
	(void)device;
	vmbus_channel_resume(channel);
}

static void fan_close(struct vmbus_device *device, struct vmbus_channel *channel)
{
	(void)device;
	vmbus_channel_closed(channel);
}

static void fan_save(struct vmbus_device *device, struct save *save)
{
	(void)device;
	(void)save;
}

static int fan_load(struct vmbus_device *device, struct load *load)
{
	(void)device;
	return load_result(load);
}

struct vmbus_device *rig_fan_create(const char *name)
{
	static const struct vmbus_device_ops ops = {
		.name = "fan",
		.packet_bytes_max = 4096,
		.open = fan_open,
		.packet = fan_packet,
		.writable = fan_writable,
		.close = fan_close,
		.save = fan_save,
		.load = fan_load,
	};
	static const struct guid type = RIG_FAN_TYPE;
	struct fan *fan = calloc(1, sizeof(*fan));

	check(fan);
	fan->device.ops = &ops;
	fan->device.offer.interface_type = type;
	guid_from_name(name, &fan->device.offer.interface_instance);
	fan->device.sub_loops = fan->sub_loops;
	fan->device.sub_channels_max = RIG_FAN_SUBS;
	return &fan->device;
}

void rig_fan_destroy(struct vmbus_device *device)
{
	free(container_of(device, struct fan, device));
}

void rig_fan_set_loops(struct vmbus_device *device, struct loop *loop, struct loop *other)
{
	struct fan *fan = container_of(device, struct fan, device);

	device->loop = loop;
	for (unsigned int i = 0; i < RIG_FAN_SUBS; i++) {
		fan->sub_loops[i] = i % 2 ? loop : other;
	}
}

/* ---- the host process ---- */

/* ---- a NIC on a wire that gives everything back ---- */

struct wire_nic {
	struct net *net;
	struct netvsp *nic;
	struct loop *control;
	struct loop_work stopped, *done;
};

struct rig_host {
	struct loop *control, *io, *io2;
	struct remote_host *host;
	struct loop_watch signal;
	struct loop_work returned;
	bool refuses;
	struct wire_nic *nics[REMOTE_DEVICES_MAX];
	size_t nic_count;
	struct {
		struct vmbus_device *device;
		struct echo *echo;
	} echoes[REMOTE_DEVICES_MAX];
};

static int create(void *ctx, const struct remote_loan *loan, struct vmbus_device **ret,
		  struct diag *reterr)
{
	struct rig_host *rig = ctx;

	if (rig->refuses) {
		return diag_set(reterr, -EPERM, "not today");
	}
	for (size_t i = 0; i < ARRAY_SIZE(rig->echoes); i++) {
		if (rig->echoes[i].device) {
			continue;
		}
		int err = echo_create(loan->port, &rig->echoes[i].echo);

		if (err) {
			return diag_set(reterr, err, "no memory");
		}
		*ret = rig->echoes[i].device = echo_device(rig->echoes[i].echo);
		(*ret)->loop = rig->io;
		return 0;
	}
	return diag_set(reterr, -ENOSPC, "too many");
}

static void destroy(void *ctx, struct vmbus_device *device)
{
	struct rig_host *rig = ctx;

	for (size_t i = 0; i < ARRAY_SIZE(rig->echoes); i++) {
		if (rig->echoes[i].device == device) {
			echo_destroy(rig->echoes[i].echo);
			rig->echoes[i].device = NULL;
			return;
		}
	}
	check(false);
}

static int create_fan(void *ctx, const struct remote_loan *loan, struct vmbus_device **ret,
		      struct diag *reterr)
{
	struct rig_host *rig = ctx;

	(void)reterr;
	*ret = rig_fan_create(loan->port);
	rig_fan_set_loops(*ret, rig->io, rig->io2);
	return 0;
}

static void destroy_fan(void *ctx, struct vmbus_device *device)
{
	(void)ctx;
	rig_fan_destroy(device);
}

static void destroy_on_loop(void *arg)
{
	net_destroy(arg);
}

static void destroy_wire_nic(struct wire_nic *wire)
{
	netvsp_destroy(wire->nic);
	if (wire->net) {
		loop_call(net_loop(wire->net), destroy_on_loop, wire->net);
	}
	free(wire);
}

static int create_net(void *ctx, const struct remote_loan *loan, struct vmbus_device **ret,
		      struct diag *reterr)
{
	struct rig_host *rig = ctx;
	struct wire_nic *wire = calloc(1, sizeof(*wire));
	struct netvsp_loan words;
	int err = netvsp_loan_parse(loan->config, loan->config_bytes, &words);

	check(wire);
	err = rig->refuses ? -EPERM : err;
	err = err ? err : net_null_create(rig->io, true, &wire->net, reterr);
	if (!err) {
		struct netvsp_config config = { .name = words.name,
						.partition = loan->partition,
						.mac = words.mac,
						.net = wire->net };

		err = netvsp_create(&config, &wire->nic, reterr);
	}
	if (err) {
		destroy_wire_nic(wire);
		return diag_set(reterr, err, "not today");
	}
	*ret = netvsp_device(wire->nic);
	check(rig->nic_count < ARRAY_SIZE(rig->nics));
	rig->nics[rig->nic_count++] = wire;
	return 0;
}

static void look_at_link(void *arg)
{
	netvsp_set_link(arg, true);
}

static void started_net(void *ctx, struct vmbus_device *device)
{
	struct rig_host *rig = ctx;

	for (size_t i = 0; i < rig->nic_count; i++) {
		if (netvsp_device(rig->nics[i]->nic) == device) {
			loop_call(rig->io, look_at_link, rig->nics[i]->nic);
		}
	}
}

static void stop_on_loop(void *arg)
{
	struct wire_nic *wire = arg;

	net_stop(wire->net, &wire->stopped);
}

static void on_net_stopped(struct loop_work *work)
{
	struct wire_nic *wire = container_of(work, struct wire_nic, stopped);

	loop_post(wire->control, wire->done);
}

static void stop_net(void *ctx, struct vmbus_device *device, struct loop_work *done)
{
	struct rig_host *rig = ctx;

	for (size_t i = 0; i < rig->nic_count; i++) {
		struct wire_nic *wire = rig->nics[i];

		if (netvsp_device(wire->nic) == device) {
			netvsp_pause(wire->nic);
			wire->done = done;
			wire->control = rig->control;
			loop_work_init(&wire->stopped, on_net_stopped);
			loop_call(rig->io, stop_on_loop, wire);
		}
	}
}

static void destroy_net(void *ctx, struct vmbus_device *device)
{
	struct rig_host *rig = ctx;

	for (size_t i = 0; i < rig->nic_count; i++) {
		if (netvsp_device(rig->nics[i]->nic) == device) {
			destroy_wire_nic(rig->nics[i]);
			rig->nics[i] = rig->nics[--rig->nic_count];
			return;
		}
	}
	check(false);
}

static void on_returned(struct loop_work *work)
{
	struct rig_host *rig = container_of(work, struct rig_host, returned);

	loop_quit(rig->control);
}

static void on_signal(struct loop_watch *watch, uint32_t poll_events)
{
	struct rig_host *rig = container_of(watch, struct rig_host, signal);
	struct signalfd_siginfo info;

	(void)poll_events;
	if (read(watch->fd, &info, sizeof(info)) == sizeof(info)) {
		remote_host_return_all(rig->host, REMOTE_RETURN_UPGRADE, 500, &rig->returned);
	}
}

static int run_host(const char *mode)
{
	static const struct remote_service services[] = {
		{ .kind = "echo", .create = create, .destroy = destroy },
		{ .kind = "fan", .create = create_fan, .destroy = destroy_fan },
		{ .kind = "net",
		  .create = create_net,
		  .started = started_net,
		  .stop = stop_net,
		  .destroy = destroy_net },
	};
	struct rig_host rig = { .refuses = strcmp(mode, REMOTE_RIG_REFUSE) == 0 };
	struct diag diag;
	sigset_t set;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigprocmask(SIG_BLOCK, &set, NULL);
	fcntl(LISTEN_FD, F_SETFD, FD_CLOEXEC);
	int fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);

	check(loop_create("host", &rig.control, &diag) == 0);
	check(loop_create("host-io", &rig.io, &diag) == 0);
	check(loop_create("host-io2", &rig.io2, &diag) == 0);
	check(loop_start_thread(rig.io, &diag) == 0);
	check(loop_start_thread(rig.io2, &diag) == 0);
	struct remote_host_config config = {
		.control = rig.control,
		.listen_fd = LISTEN_FD,
		.services = services,
		.service_count = ARRAY_SIZE(services),
		.ctx = &rig,
		.lends_per_second = 100000, /* the tests' own pace */
	};

	loop_work_init(&rig.returned, on_returned);
	check(loop_watch_start(rig.control, &rig.signal, fd, POLLIN, on_signal) == 0);
	check(remote_host_create(&config, &rig.host) == 0);
	loop_run(rig.control);
	remote_host_destroy(rig.host);
	loop_watch_stop(&rig.signal);
	loop_stop_thread(rig.io);
	loop_stop_thread(rig.io2);
	loop_destroy(rig.io);
	loop_destroy(rig.io2);
	loop_destroy(rig.control);
	close(fd);
	return 0;
}

bool remote_rig_is_host(int argc, char **argv, int *ret_status)
{
	if (argc != 3 || strcmp(argv[1], "host") != 0) {
		return false;
	}
	*ret_status = run_host(argv[2]);
	return true;
}

/* ---- for the test ---- */

int remote_rig_listen(char *ret_path, size_t room)
{
	char dir[] = "/tmp/tabique-test-XXXXXX";
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	check(fd >= 0 && mkdtemp(dir));
	snprintf(ret_path, room, "%s/host.vsp", dir);
	snprintf(address.sun_path, sizeof(address.sun_path), "%s", ret_path);
	check(bind(fd, (struct sockaddr *)&address, sizeof(address)) == 0);
	check(listen(fd, 16) == 0);
	return fd;
}

void remote_rig_unlink(const char *path)
{
	char dir[128];

	unlink(path);
	snprintf(dir, sizeof(dir), "%s", path);
	*strrchr(dir, '/') = '\0';
	rmdir(dir);
}

pid_t remote_rig_start(int listen_fd, const char *mode)
{
	char *argv[] = { "remote-host", "host", (char *)(uintptr_t)mode, NULL };
	/* Beyond 3, so that dup2() makes one without CLOEXEC in any case. */
	int fd = fcntl(listen_fd, F_DUPFD_CLOEXEC, 10);
	pid_t pid = fork();

	if (pid == 0) {
		dup2(fd, LISTEN_FD);
		execv("/proc/self/exe", argv);
		_exit(127);
	}
	close(fd);
	check(pid > 0);
	return pid;
}

int remote_rig_wait(pid_t pid)
{
	int status;

	check(waitpid(pid, &status, 0) == pid);
	return status;
}

bool remote_rig_maps_ram(pid_t pid)
{
	char path[64], line[512];
	bool found = false;

	snprintf(path, sizeof(path), "/proc/%d/maps", (int)pid);
	FILE *f = fopen(path, "re");

	while (f && fgets(line, sizeof(line), f)) {
		found |= strstr(line, "memfd:guest-ram") != NULL;
	}
	if (f) {
		fclose(f);
	}
	return found;
}
