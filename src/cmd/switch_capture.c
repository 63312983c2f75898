/* SPDX-License-Identifier: MIT */
/* tabique switch capture: what passes through a switch, as pcapng on standard output. */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/num.h"
#include "cmd/cmd.h"
#include "cmd/switch_capture.h"
#include "ext/ext_client.h"
#include "ext/pcapng_write.h"
#include "vm/vm.h"

#define BUFFER_BYTES   (1U << 20)
#define FRAME_BYTES    VSEXT_LARGE_BYTES
#define COMMENT_BYTES  64
#define NO_INTERFACE   UINT32_MAX
#define VLAN_MAX       4094
#define PCP_SHIFT      13
#define SIGNAL_POLL_MS 200 /* how late a signal between a question and a sleep is seen */

static const char usage[] =
	"usage: tabique switch capture NAME [KEY=VALUE]...\n"
	"\n"
	"Writes what passes through the switch to standard output, as pcapng:\n"
	"  tabique switch capture NAME | wireshark -k -i -\n"
	"Each port is an interface. Frames show where the switch gets them (inbound) and where it\n"
	"delivers them (outbound); one that is dropped is shown again, with the reason as a "
	"comment.\n"
	"\n"
	"  port=PORT              only this one\n"
	"  direction=in|out|both  into the switch, out of it (default: both)\n"
	"  vlan=N                 only this one; 0: none\n"
	"  snaplen=N              at most so many bytes of a frame (default: all)\n"
	"  count=N                ends after so many frames\n"
	"  drops=on|off           whether dropped frames are shown again (default: on)\n";

struct capture {
	struct ext_client *client;
	uint64_t limit, count; /* frames; limit 0: none */
	uint32_t snaplen;
	uint32_t interfaces;
	uint32_t of_port[VSEXT_PORTS_MAX]; /* NO_INTERFACE: not described yet */
	char names[VSEXT_PORTS_MAX][VSEXT_NAME_BYTES];
	uint8_t *buffer;
	size_t used;
	int err; /* of the last write */
};

static volatile sig_atomic_t is_over;

static void on_signal(int number)
{
	(void)number;
	is_over = 1;
}

/* false: nobody reads it any more, or there is no room. */
static bool flush(struct capture *capture)
{
	size_t at = 0;

	while (at < capture->used) {
		ssize_t n = write(STDOUT_FILENO, capture->buffer + at, capture->used - at);

		if (n < 0 && errno == EINTR) {
			continue;
		}
		if (n < 0) {
			capture->err = -errno;
			return false;
		}
		at += (size_t)n;
	}
	capture->used = 0;
	return true;
}

static bool make_room(struct capture *capture, size_t bytes)
{
	return capture->used + bytes <= BUFFER_BYTES || flush(capture);
}

/* A port's, which is described when it is first needed, and again under another name. */
static uint32_t interface_of(struct capture *capture, uint16_t port)
{
	const struct vsext_port *known = ext_client_port(capture->client, port);
	const char *name = known ? known->name : "gone";

	port %= VSEXT_PORTS_MAX;
	if (capture->of_port[port] == NO_INTERFACE ||
	    (known && strcmp(capture->names[port], name) != 0)) {
		capture->used +=
			pcapng_interface(capture->buffer + capture->used, name, capture->snaplen);
		capture->of_port[port] = capture->interfaces++;
		snprintf(capture->names[port], sizeof(capture->names[port]), "%s", name);
	}
	return capture->of_port[port];
}

/* false: nobody reads it any more. */
static bool write_frame(struct capture *capture, const struct ext_frame *frame)
{
	const struct vsext_slot *slot = frame->slot;
	char comment[COMMENT_BYTES];
	struct pcapng_frame packet = {
		.time_ns = slot->time_ns,
		.bytes = frame->bytes,
		.captured = slot->bytes,
		.length = slot->frame_bytes,
		.direction =
			slot->direction == VSEXT_OUT ? PCAPNG_DIRECTION_OUT : PCAPNG_DIRECTION_IN,
		.has_tag = slot->vlan != 0,
		.tci = (uint16_t)(slot->pcp << PCP_SHIFT | slot->vlan),
	};

	if (!make_room(capture, FRAME_BYTES + 2 * PCAPNG_ROOM)) {
		return false;
	}
	if (slot->reason[0]) {
		snprintf(comment, sizeof(comment), "dropped: %.*s", (int)sizeof(slot->reason),
			 slot->reason);
		packet.comment = comment;
	}
	packet.interface = interface_of(capture, slot->port);
	capture->used += pcapng_packet(capture->buffer + capture->used, &packet);
	capture->count++;
	return true;
}

static bool is_enough(const struct capture *capture)
{
	return is_over || (capture->limit && capture->count >= capture->limit);
}

/* Until a signal, the limit, or the end of the switch or of whoever reads. 0, or a negative errno of either. */
static int run(struct capture *capture)
{
	struct ext_frame frame;
	int n = 0;

	capture->used = pcapng_section(capture->buffer, "tabique switch capture");
	while (!is_enough(capture)) {
		n = ext_client_next(capture->client, 0, &frame);
		if (n == 0) {
			/* Nothing waits: who looks on wants to see what there was. */
			if (!flush(capture)) {
				break;
			}
			n = ext_client_next(capture->client, SIGNAL_POLL_MS, &frame);
		}
		if (n < 0) {
			break;
		}
		if (n > 0) {
			bool written = write_frame(capture, &frame);

			ext_client_pass(capture->client, &frame);
			if (!written) {
				break;
			}
		}
	}
	if (!capture->err && capture->interfaces && make_room(capture, PCAPNG_ROOM)) {
		struct timespec now;

		clock_gettime(CLOCK_REALTIME, &now);
		capture->used +=
			pcapng_statistics(capture->buffer + capture->used, 0,
					  (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec,
					  ext_client_lost(capture->client));
	}
	if (!capture->err) {
		(void)flush(capture);
	}
	return n < 0 ? n : 0;
}

/* ---- words ------------------------------------------------------------------------------------- */

static int parse_number(const char *text, unsigned long max, unsigned long *ret)
{
	char *end;

	errno = 0;
	*ret = strtoul(text, &end, 10);
	return errno || end == text || *end || text[0] == '-' || *ret > max ? -EINVAL : 0;
}

static int parse_direction(const char *value, struct ext_client_config *config)
{
	if (strcmp(value, "in") == 0) {
		config->directions = VSEXT_IN;
	} else if (strcmp(value, "out") == 0) {
		config->directions = VSEXT_OUT;
	} else if (strcmp(value, "both") == 0) {
		config->directions = VSEXT_IN | VSEXT_OUT;
	} else {
		return -EINVAL;
	}
	return 0;
}

static int parse_word(const char *word, struct ext_client_config *config, struct capture *capture)
{
	unsigned long number = 0;
	int err;

	if (strncmp(word, "port=", 5) == 0) {
		config->port = word + 5;
		config->match |= VSEXT_MATCH_PORT;
		return word[5] ? 0 : -EINVAL;
	}
	if (strncmp(word, "direction=", 10) == 0) {
		return parse_direction(word + 10, config);
	}
	if (strncmp(word, "vlan=", 5) == 0) {
		err = parse_number(word + 5, VLAN_MAX, &number);
		config->vlan = (uint16_t)number;
		config->match |= VSEXT_MATCH_VLAN;
		return err;
	}
	if (strncmp(word, "snaplen=", 8) == 0) {
		err = parse_number(word + 8, UINT32_MAX, &number);
		config->snaplen = capture->snaplen = (uint32_t)number;
		return err;
	}
	if (strncmp(word, "count=", 6) == 0) {
		err = parse_number(word + 6, UINT32_MAX, &number);
		capture->limit = number;
		return err;
	}
	if (strcmp(word, "drops=off") == 0 || strcmp(word, "drops=on") == 0) {
		config->no_drops = word[7] == 'f';
		return 0;
	}
	return -EINVAL;
}

static void catch_signals(void)
{
	struct sigaction action = { .sa_handler = on_signal };

	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
	signal(SIGPIPE, SIG_IGN);
}

static int start(const char *where, const struct ext_client_config *config, struct capture *capture)
{
	struct diag diag;
	int err = ext_client_open(where, config, &capture->client, &diag);

	if (err) {
		bool is_gone = err == -ENOENT || err == -ECONNREFUSED;

		return cmd_fail(is_gone ? VM_STATUS_HOST : VM_STATUS_USER, &diag);
	}
	capture->buffer = malloc(BUFFER_BYTES);
	err = capture->buffer ? run(capture) : -ENOMEM;
	if (err || (capture->err && capture->err != -EPIPE)) {
		diag_set(&diag, 0, "the capture has ended: %s",
			 err == -EPIPE ? "so has the switch"
				       : strerror(err ? -err : -capture->err));
		err = cmd_fail(err == -EPIPE ? 0 : VM_STATUS_HOST, &diag);
	}
	fprintf(stderr, "%llu frames, %llu lost\n", (unsigned long long)capture->count,
		(unsigned long long)ext_client_lost(capture->client));
	free(capture->buffer);
	ext_client_close(capture->client);
	return err;
}

/* What the words say; 0 or the exit status. */
static int read_words(char *const *words, size_t count, struct ext_client_config *config,
		      struct capture *capture)
{
	struct diag diag;

	for (size_t i = 0; i < count; i++) {
		if (parse_word(words[i], config, capture)) {
			diag_set(&diag, 0,
				 "\"%.64s\" is nothing that capture knows: see tabique switch "
				 "capture --help",
				 words[i]);
			return cmd_fail(VM_STATUS_USER, &diag);
		}
	}
	if (isatty(STDOUT_FILENO)) {
		diag_set(&diag, 0,
			 "a capture is not for a terminal: send it to a file, or through "
			 "| wireshark -k -i -");
		return cmd_fail(VM_STATUS_USER, &diag);
	}
	return 0;
}

int switch_capture_help(void)
{
	fputs(usage, stdout);
	return 0;
}

int switch_capture(const char *name, char *const *words, size_t count)
{
	struct ext_client_config config = {
		.kind = VSEXT_CAPTURE,
		.name = "capture",
		.directions = VSEXT_IN | VSEXT_OUT,
	};
	struct capture *capture;
	struct diag diag;
	int status;

	if (!name) {
		diag_set(&diag, 0, "which switch? tabique switch capture NAME");
		return cmd_fail(VM_STATUS_USER, &diag);
	}
	capture = calloc(1, sizeof(*capture));
	if (!capture) {
		diag_set(&diag, 0, "no memory");
		return cmd_fail(VM_STATUS_HOST, &diag);
	}
	memset(capture->of_port, 0xff, sizeof(capture->of_port));
	status = read_words(words, count, &config, capture);
	if (!status) {
		catch_signals();
		status = start(name, &config, capture);
	}
	free(capture);
	return status;
}
