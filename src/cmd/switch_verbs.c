/* SPDX-License-Identifier: MIT */
/* tabique switch: which verbs there are, and what --help says of each. */
#include "base/num.h"
#include "cmd/switch.h"

#define PORT_KEYS                                                                                  \
	"  profile=NAME        what it has where it says nothing itself\n"                         \
	"  vlan=               none | access:10 | trunk:1,2-20 | private:100/isolated:101 |\n"     \
	"                      private:100/community:102 | private:100/promiscuous\n"              \
	"  mac-spoofing=on|off may send from any address (default: off)\n"                         \
	"  macs=MAC,...        addresses of its own besides its NIC's\n"                           \
	"  dhcp-guard=on|off   is no DHCP server; router-guard=on|off: is no router\n"             \
	"  arp-guard=          off | snoop | IP,...: speaks only for these addresses\n"            \
	"  macs-max=N          addresses behind it; multicast-max=N: groups it may join\n"         \
	"  broadcast-pps=N     and multicast-pps=, unknown-pps=, pps-max=: frames a second\n"      \
	"  weight=N            its share where there is too little (1 to 10000; 100)\n"            \
	"  max=RATE            at most so many bits a second; burst=SIZE at once\n"                \
	"  link=up|down        forwards=on|off  owner=UID|any\n"

#define RULE_KEYS                                                                                  \
	"  port=PORT | profile=NAME          whose rule it is\n"                                   \
	"  direction=in|out                  from the port into the switch, or to the port\n"      \
	"  action=allow|deny|count           the first that matches decides; count goes on\n"      \
	"  priority=N                        smaller ones first (1000)\n"                          \
	"  proto=tcp|udp|icmp|icmp6|N        ethertype=0x88cc\n"                                   \
	"  local=PREFIX remote=PREFIX        local is the port's side\n"                           \
	"  local-port=N[-M] remote-port=     remote-mac=MAC\n"                                     \
	"  stateful=on [idle=SECONDS]        answers may pass as well\n"

const struct switch_verb switch_verbs[] = {
	{ "show", "", "The switch: settings, and what runs.\n" },
	{ "stats", "[port=PORT]", "Frames and bytes of each port, and why frames were dropped.\n" },
	{ "set", "KEY=VALUE...",
	  "Changes the switch itself:\n"
	  "  kind=external|internal|private   mtu=N   ports=auto|fixed\n"
	  "  host-port=TAP|none               the host's own port\n"
	  "  host-vlan=VLAN                   its VLAN: none | access:10 | trunk:0,10-20 | "
	  "private:…\n"
	  "  team=standby|hash                how several uplinks are used\n"
	  "  age=SECONDS                      of addresses that are silent\n"
	  "  querier=on|off                   asks for multicast groups when nobody does (off)\n"
	  "  threads=N                        core threads, 0: as many as processors less one; "
	  "with\n"
	  "                                   create, later with upgrade\n",
	  .is_quiet = true },
	{ "upgrade", "[threads=N]",
	  "Starts the program anew, from the file that is there now, while partitions run,\n"
	  "with so many core threads.\n"
	  "What the switch has learned is kept; guests see a pause of some 10 ms.\n",
	  .is_quiet = true },
	{ "stop", "", "Ends the switch. Its configuration stays: see start.\n", .is_quiet = true },
	{ "port add", "name=PORT [KEY=VALUE]...", "Adds a port.\n" PORT_KEYS, .is_quiet = true },
	{ "port set", "port=PORT KEY=VALUE...", "Changes a port.\n" PORT_KEYS, .is_quiet = true },
	{ "port remove", "port=PORT", "Removes a port, and its rules.\n", .is_quiet = true },
	{ "port list", "", "All ports, with what holds for them.\n", "ports",
	  "name auto profile vlan link connected mac max weight" },
	{ "profile add", "name=NAME [KEY=VALUE]...",
	  "Adds a profile: what ports have that say nothing themselves. That of ports which\n"
	  "name none is called default.\n" PORT_KEYS,
	  .is_quiet = true },
	{ "profile set", "profile=NAME KEY=VALUE...", "Changes a profile.\n" PORT_KEYS,
	  .is_quiet = true },
	{ "profile remove", "profile=NAME", "Removes a profile that no port has.\n",
	  .is_quiet = true },
	{ "profile list", "", "All profiles.\n", "profiles",
	  "name vlan max weight dhcp-guard arp-guard" },
	{ "acl add", "port=PORT|profile=NAME KEY=VALUE...",
	  "Adds a rule, and says its number.\n" RULE_KEYS },
	{ "acl remove", "rule=N", "Removes a rule.\n", .is_quiet = true },
	{ "acl list", "[port=PORT]",
	  "All rules, with how many frames each has matched, and their bytes, over all ports; "
	  "with\n"
	  "port= those that hold there, a profile's too, and what they counted there. What a\n"
	  "stateful rule's connections carry after their first frame counts for no rule.\n",
	  "acl",
	  "rule port profile direction priority action proto local local-port remote remote-port "
	  "stateful frames bytes" },
	{ "acl zero", "[port=PORT] [rule=N]",
	  "Their counters begin at 0 again: of all rules, of those at a port, or of one.\n",
	  .is_quiet = true },
	{ "mirror set", "mirror=NAME from=PORT,... direction=in|out|both to=PORT",
	  "Makes or changes a session: what these ports send, get, or both, is copied to "
	  "another.\n",
	  .is_quiet = true },
	{ "mirror off", "mirror=NAME", "Ends a session.\n", .is_quiet = true },
	{ "mirror list", "", "All sessions.\n", "mirrors", "mirror from direction to" },
	{ "ext add", "ext=NAME kind=capture|filter|forward [KEY=VALUE]...",
	  "Says what holds for an extension that calls itself so, or changes it:\n"
	  "  on-failure=pass|drop  frames that it does not answer in time (pass)\n"
	  "  deadline=MS           what is in time (20)\n"
	  "  owner=UID|any         whose process it may be\n"
	  "Filters are asked in this order. One that is connected connects anew.\n",
	  .is_quiet = true },
	{ "ext remove", "ext=NAME", "Takes that back.\n", .is_quiet = true },
	{ "ext list", "", "Extensions that are connected or configured, and how they do.\n", "exts",
	  "ext kind state on-failure deadline asked dropped changed late full bad" },
	{ "fdb show", "[port=PORT] [vlan=N]", "Which address is behind which port.\n", "fdb",
	  "mac vlan port kind idle" },
	{ "fdb add", "mac=MAC port=PORT [vlan=N]", "Says where an address is, for ever.\n",
	  .is_quiet = true },
	{ "fdb delete", "mac=MAC [vlan=N]", "Takes that back.\n", .is_quiet = true },
	{ "fdb flush", "[port=PORT]", "Forgets what was learned.\n", .is_quiet = true },
	{ "groups", "", "Who is in which multicast group.\n", "groups", "group vlan ports" },
	{ "flows", "[port=PORT]", "Connections that stateful rules have let through.\n", "flows",
	  "port proto local local-port remote remote-port state left rule" },
	{ "uplink add",
	  "dev=INTERFACE [mode=packet|xdp|auto|tap] [priority=N] [rate=RATE] [team=standby|hash]",
	  "Adds a way out of the switch. Several are a team.\n", .is_quiet = true },
	{ "uplink set", "dev=INTERFACE KEY=VALUE...", "Changes one.\n", .is_quiet = true },
	{ "uplink remove", "dev=INTERFACE", "Removes one.\n", .is_quiet = true },
	{ "uplink list", "", "All of them.\n", "uplinks",
	  "dev mode kind priority link active why" },
	{ "nat set", "[on=on|off] [net=PREFIX] [KEY=VALUE]...",
	  "Address translation for all ports, with DHCP and a resolver:\n"
	  "  net=PREFIX           the network (10.0.2.0/24)\n"
	  "  gateway=IP|auto      the host in it (auto: its second address)\n"
	  "  dns=IP|auto          the resolver (auto: its third); another one that clients are "
	  "told of\n"
	  "  range=IP-IP|auto     addresses that clients get (auto: from the 15th on)\n"
	  "  lease=SECONDS        for how long (3600)\n"
	  "  port-leases=N        how many of them one port may have (32; 0: all)\n"
	  "  domain=NAME|none     what clients are told\n"
	  "  restricted=on|off    guests reach nobody; forwards work\n"
	  "Changes but for forwards and reservations end the connections that there are.\n",
	  .is_quiet = true },
	{ "nat show", "", "Its settings as they have become, whether it runs, and counters.\n" },
	{ "nat leases", "", "Which client has which address.\n", "leases",
	  "ip mac name left reserved" },
	{ "nat reserve", "mac=MAC ip=IP", "Keeps an address for a client, in the range or not.\n",
	  .is_quiet = true },
	{ "nat unreserve", "mac=MAC", "No longer.\n", .is_quiet = true },
	{ "nat forward", "forward=tcp|udp:[ADDRESS:]PORT:[ADDRESS:]PORT",
	  "Forwards a port of the host to a guest: tcp:2222:10.0.2.15:22.\n", .is_quiet = true },
	{ "nat unforward", "forward=...", "No longer.\n", .is_quiet = true },
};
const size_t switch_verb_count = ARRAY_SIZE(switch_verbs);
