/* SPDX-License-Identifier: MIT */
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "net/nat_internal.h"

#define FORWARD_TEXT_MAX 96
#define FORWARD_FIELDS   5

static bool parse_port(const char *text, uint16_t *ret)
{
	char *end;
	unsigned long port;

	if (*text < '0' || *text > '9') {
		return false;
	}
	errno = 0;
	port = strtoul(text, &end, 10);
	if (errno || *end || port == 0 || port > UINT16_MAX) {
		return false;
	}
	*ret = (uint16_t)port;
	return true;
}

static bool parse_address(const char *text, uint32_t *ret)
{
	struct in_addr addr;

	if (inet_pton(AF_INET, text, &addr) != 1) {
		return false;
	}
	*ret = ntohl(addr.s_addr);
	return true;
}

/* An address may stand before each port; an address has dots. */
static bool parse_fields(char *fields[], int count, struct net_forward *f)
{
	int at = 1;

	if (at < count && strchr(fields[at], '.') &&
	    !parse_address(fields[at++], &f->host_address)) {
		return false;
	}
	if (at >= count || !parse_port(fields[at++], &f->host_port)) {
		return false;
	}
	if (at < count && strchr(fields[at], '.') &&
	    !parse_address(fields[at++], &f->guest_address)) {
		return false;
	}
	return at == count - 1 && parse_port(fields[at], &f->guest_port);
}

int net_nat_parse_forward(const char *text, struct net_forward *ret, struct diag *reterr)
{
	char copy[FORWARD_TEXT_MAX], *fields[FORWARD_FIELDS], *rest = copy;
	struct net_forward f = { 0 };
	int count = 0;

	if (strlen(text) >= sizeof(copy)) {
		goto bad;
	}
	strcpy(copy, text);
	while (rest && count < FORWARD_FIELDS) {
		fields[count++] = strsep(&rest, ":");
	}
	if (rest) {
		goto bad;
	}
	f.udp = strcmp(fields[0], "udp") == 0;
	if ((!f.udp && strcmp(fields[0], "tcp") != 0) || !parse_fields(fields, count, &f)) {
		goto bad;
	}
	*ret = f;
	return 0;
bad:
	return diag_set(
		reterr, -EINVAL,
		"'%s' is no port forward; write tcp:2222:22, udp:5353:53, or with addresses "
		"tcp:127.0.0.1:2222:10.0.2.15:22",
		text);
}

static bool is_for_same(const struct net_forward *a, const struct net_forward *b)
{
	return a->udp == b->udp && a->host_address == b->host_address &&
	       a->host_port == b->host_port;
}

/* A service has no guest that is meant when none is named; elsewhere libslirp has nobody to ask for. */
static bool has_guest(const struct nat *nat, const struct net_forward *forward)
{
	if (!forward->guest_address && !nat->dhcp) {
		return true;
	}
	return net_nat_network_has_guest(&nat->network, forward->guest_address);
}

int net_nat_forward_add(struct net *net, const struct net_forward *forward, struct diag *reterr)
{
	struct nat *nat = nat_of(net);
	struct in_addr host = { htonl(forward->host_address) };
	struct in_addr guest = { htonl(forward->guest_address) };
	char name[INET_ADDRSTRLEN];
	int err;

	if (!has_guest(nat, forward)) {
		inet_ntop(AF_INET, &guest, name, sizeof(name));
		return diag_set(reterr, -EINVAL,
				"a forward must name a guest of the network, not %s; write "
				"tcp:2222:10.0.2.15:22",
				forward->guest_address ? name : "none");
	}
	if (nat->forward_count == NET_NAT_FORWARDS_MAX) {
		return diag_set(reterr, -ENOSPC, "there are %u forwards already",
				NET_NAT_FORWARDS_MAX);
	}
	errno = 0;
	if (slirp_add_hostfwd(nat->slirp, forward->udp, host, forward->host_port, guest,
			      forward->guest_port) == 0) {
		nat->forwards[nat->forward_count++] = *forward;
		nat_round_soon(nat);
		return 0;
	}
	err = errno ? errno : EIO;
	inet_ntop(AF_INET, &host, name, sizeof(name));
	return diag_set(reterr, -err, "cannot listen on %s port %s:%u (%s)%s",
			forward->udp ? "UDP" : "TCP", name, forward->host_port, strerror(err),
			err == EADDRINUSE
				? ": another program has it; choose another port in forward="
				: "");
}

int net_nat_forward_remove(struct net *net, const struct net_forward *forward)
{
	struct nat *nat = nat_of(net);
	struct in_addr host = { htonl(forward->host_address) };

	for (unsigned int i = 0; i < nat->forward_count; i++) {
		if (!is_for_same(&nat->forwards[i], forward)) {
			continue;
		}
		if (slirp_remove_hostfwd(nat->slirp, forward->udp, host, forward->host_port)) {
			return -ENOENT;
		}
		nat->forwards[i] = nat->forwards[--nat->forward_count];
		nat_round_soon(nat);
		return 0;
	}
	return -ENOENT;
}

bool net_nat_forward_next(const struct net *net, uint32_t *cursor, struct net_forward *ret)
{
	const struct nat *nat = nat_of(net);

	if (*cursor >= nat->forward_count) {
		return false;
	}
	*ret = nat->forwards[(*cursor)++];
	return true;
}
