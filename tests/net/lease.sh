#!/bin/sh
# SPDX-License-Identifier: MIT
#
# What udhcpc and dhclient run when they have a lease: the interface gets the address and the router, and
# the file that LEASE names says what was told.
# shellcheck disable=SC2154  # they come by the environment

case ${1:-$reason} in
bound | renew | BOUND | RENEW | REBIND | REBOOT) ;;
*) exit 0 ;;
esac
ip=${ip:-$new_ip_address}
mask=${mask:-24}
router=${router:-$new_routers}
ip addr replace "$ip/$mask" dev "$interface"
ip route replace default via "$router" dev "$interface"
cat >"$LEASE.new" <<END
ip=$ip
router=$router
dns=${dns:-$new_domain_name_servers}
domain=${domain:-$new_domain_name}
mtu=${mtu:-$new_interface_mtu}
lease=${lease:-$new_dhcp_lease_time}
server=${serverid:-$new_dhcp_server_identifier}
END
mv "$LEASE.new" "$LEASE"
