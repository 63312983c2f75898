/* SPDX-License-Identifier: MIT */
/*
 * A guest without a machine on a port of a running switch: the fake guest and its NIC's driver in a
 * process of its own, whose NIC is lent to the switch's process as a real worker lends it.
 *
 * usage: net_plug SWITCH PORT MAC MTU     TABIQUE_SWITCH_DIR as for `tabique switch`
 *
 * Descriptor 0 is a SOCK_SEQPACKET of who tests; each message is a letter and, for some, bytes:
 *
 *   to us    F frame     sent by the guest as it is; a tag is in the frame
 *            V frame     the same, but its tag (802.1Q) travels beside it, as Linux's driver has it
 *            R message   one RNDIS data message, headers and all: a driver that lies
 *            S           the switch has done what was sent, and has told all whom it concerns
 *            T           what has arrived until now
 *   from us  U           the NIC is away: its port is up (once)
 *            F frame     has arrived; a tag is in the frame
 *            D           done, after each F, V, R, S and T that came
 *
 *   thread  one   ends with the socket
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <signal.h>

#include "base/bytes.h"
#include "guest/fake_internal.h"
#include "guest/fake_synic.h"
#include "guest/netvsc.h"
#include "proto/ether.h"
#include "vm/adapters_internal.h"

#define MESSAGE_BYTES (NETVSC_FRAME_MAX + 1024)
#define TAG_AT        (2U * NET_MAC_BYTES)
#define TAKE_NS       20000U   /* looked for frames each time around */
#define SETTLE_NS     2000000U /* after S: the last of them is in the ring by then */
#define IDLE_MS       5        /* between looks, when nobody asks */

struct plug {
	struct netvsc vsc;
	struct vm vm;
	struct vm_config config;
};

/* What devices.c has in the worker. */
struct loop *vm_io_loop(struct vm *vm, size_t n)
{
	return vm->io[n % vm->io_count];
}

static void tell(char letter, const void *bytes, size_t count)
{
	struct iovec iov[2] = { { &letter, 1 }, { (void *)(uintptr_t)bytes, count } };
	struct msghdr message = { .msg_iov = iov, .msg_iovlen = count ? 2 : 1 };

	if (sendmsg(0, &message, MSG_NOSIGNAL) < 0) {
		exit(errno == EPIPE ? 0 : 1);
	}
}

static bool is_away(void *arg)
{
	struct plug *plug = arg;

	return remote_worker_is_away(netvsp_device(plug->vm.adapters->list[0].nic));
}

static void start(struct plug *plug, const char *name, const char *port, const char *mac,
		  uint32_t mtu)
{
	struct fake_guest *guest;
	struct diag diag;
	char words[256];
	gpa_t page;

	netvsc_init(&plug->vsc);
	plug->vsc.mtu = mtu + NET_HEADER_BYTES;
	guest = plug->vsc.guest;
	page = fake_guest_alloc(guest, MEM_PAGE_BYTES);
	fake_synic_set_event_page(guest->synic, 0, page,
				  fake_guest_hva(guest, page, MEM_PAGE_BYTES));
	snprintf(words, sizeof(words), "switch=%s,port=%s,mac=%s", name, port, mac);
	snprintf(plug->config.name, sizeof(plug->config.name), "plug");
	plug->config.cpus = plug->config.io_threads = 1;
	plug->vm.config = &plug->config;
	plug->vm.control = plug->vm.io[0] = fake_guest_loop(guest);
	plug->vm.io_count = 1;
	plug->vm.bus = fake_guest_bus(guest);
	if (vm_config_add_net(&plug->config, words, &diag) ||
	    vm_adapters_create(&plug->vm, &plug->vm.adapters) ||
	    vm_adapters_add(plug->vm.adapters, &plug->config.nets[0], &diag)) {
		fail_msg("%s: %s", words, diag.text);
	}
	fake_guest_connect(guest, VMBUS_VERSION_5_3);
	netvsc_open(&plug->vsc);
	netvsc_start(&plug->vsc, NVSP_VERSION_61);
	netvsc_set_filter(&plug->vsc, NDIS_FILTER_PROMISCUOUS);
	for (int tries = 0; !fake_guest_wait(guest, is_away, plug); tries++) {
		assert_true(tries < 6);
	}
	tell('U', NULL, 0);
}

/* The tag goes back into the frame, where who tests looks for it. */
static void tell_frame(const struct netvsc_item *item)
{
	static uint8_t whole[NETVSC_FRAME_MAX + ETHER_TAG_BYTES];
	uint32_t vlan = item->vlan;

	if (!item->has_vlan) {
		tell('F', item->data, item->bytes);
		return;
	}
	memcpy(whole, item->data, TAG_AT);
	bytes_put_be16(whole + TAG_AT, ETHER_TYPE_VLAN);
	bytes_put_be16(whole + TAG_AT + 2,
		       (uint16_t)((vlan & RNDIS_VLAN_PRIORITY_MASK) << ETHER_PCP_SHIFT |
				  (vlan & RNDIS_VLAN_CFI ? 1U << 12 : 0) |
				  (vlan >> RNDIS_VLAN_ID_SHIFT & ETHER_VLAN_MASK)));
	memcpy(whole + TAG_AT + ETHER_TAG_BYTES, item->data + TAG_AT, item->bytes - TAG_AT);
	tell('F', whole, item->bytes + ETHER_TAG_BYTES);
}

static void pass_on(struct plug *plug, uint64_t wait_ns)
{
	struct netvsc_item *item;

	while ((item = netvsc_next_frame(&plug->vsc, wait_ns)) != NULL) {
		tell_frame(item);
		free(item);
	}
}

/* A frame with a tag, which is taken out of it. */
static void send_beside(struct plug *plug, uint8_t *frame, uint32_t bytes)
{
	uint8_t ppi[16] = { 0 };
	uint32_t tci = bytes_be16(frame + TAG_AT + 2);

	assert_true(bytes >= TAG_AT + ETHER_TAG_BYTES);
	bytes_put_le32(ppi, sizeof(ppi));
	bytes_put_le32(ppi + 4, RNDIS_PPI_VLAN);
	bytes_put_le32(ppi + 8, 12);
	bytes_put_le32(ppi + 12, tci >> ETHER_PCP_SHIFT | (tci & 1U << 12 ? RNDIS_VLAN_CFI : 0) |
					 (tci & ETHER_VLAN_MASK) << RNDIS_VLAN_ID_SHIFT);
	memmove(frame + ETHER_TAG_BYTES, frame, TAG_AT);
	(void)netvsc_send_pages_ppi(&plug->vsc, frame + ETHER_TAG_BYTES, bytes - ETHER_TAG_BYTES,
				    ppi, sizeof(ppi));
}

static void send_frame(struct plug *plug, const uint8_t *frame, uint32_t bytes)
{
	if (bytes + RNDIS_PACKET_HEAD_BYTES <= NETVSC_SECTION_BYTES) {
		(void)netvsc_send_section(&plug->vsc, 0, frame, bytes);
	} else {
		(void)netvsc_send_pages(&plug->vsc, frame, bytes);
	}
}

/*
 * A frame from nobody (which the switch drops) is answered in a later round of the switch's loop than what was
 * sent before. That round's end is where others' rings show what the round before gave them, and the answer may
 * be seen earlier than that; a second one is answered a round later still. So with one core all has happened when
 * this returns.
 */
static void settle(struct plug *plug)
{
	static const uint8_t nobody[60];

	send_frame(plug, nobody, sizeof(nobody));
	send_frame(plug, nobody, sizeof(nobody));
}

static void obey(struct plug *plug, uint8_t *message, uint32_t bytes)
{
	switch (message[0]) {
	case 'F':
		send_frame(plug, message + 1, bytes - 1);
		break;
	case 'V':
		send_beside(plug, message + 1, bytes - 1);
		break;
	case 'R':
		assert_true(bytes - 1 <= NETVSC_SECTION_BYTES);
		(void)netvsc_send_raw_section(&plug->vsc, 0, message + 1, bytes - 1);
		break;
	case 'S':
		settle(plug);
		break;
	case 'T':
		pass_on(plug, SETTLE_NS);
		break;
	default:
		fail_msg("no message: %u", message[0]);
	}
	tell('D', NULL, 0);
}

int main(int argc, char **argv)
{
	static uint8_t message[MESSAGE_BYTES];
	static struct plug plug;
	struct pollfd asked = { .fd = 0, .events = POLLIN };

	if (argc != 5) {
		fprintf(stderr, "usage: net_plug SWITCH PORT MAC MTU\n");
		return 2;
	}
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	start(&plug, argv[1], argv[2], argv[3], (uint32_t)strtoul(argv[4], NULL, 10));
	for (;;) {
		if (poll(&asked, 1, IDLE_MS) > 0) {
			ssize_t bytes = recv(0, message, sizeof(message), 0);

			if (bytes <= 0) {
				return 0;
			}
			obey(&plug, message, (uint32_t)bytes);
		}
		pass_on(&plug, TAKE_NS);
	}
}
