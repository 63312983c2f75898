/* SPDX-License-Identifier: MIT */
#include "chipset/tulip/tulip.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/fault.h"
#include "base/num.h"
#include "chipset/tulip/tulip_internal.h"

#define CLASS_ETHERNET           0x020000U
#define BAR_PORTS                0U
#define BAR_MEMORY               1U
#define ROM_BYTES_MIN            2048U
#define COMMAND_WRITE_INVALIDATE 0x10U /* PCI 2.1, 6.2.2 */

/* ---- what all parts use -------------------------------------------------------------------------------- */

bool tulip_can_master(const struct tulip *tulip)
{
	bool is_asleep =
		pci_get(&tulip->pci, TULIP_CFDA, 4) & (TULIP_CFDA_SLEEP | TULIP_CFDA_SNOOZE);

	return pci_is_master(&tulip->pci) && !tulip->is_dead && !is_asleep;
}

bool tulip_is_looped(const struct tulip *tulip)
{
	return tulip->csr6 >> TULIP_CSR6_OM_SHIFT & TULIP_CSR6_OM_MASK ||
	       tulip->phy.control & MII_BMCR_LOOPBACK;
}

/* Only events that are enabled count in the summaries (3.2.2.5). */
uint32_t tulip_status(const struct tulip *tulip)
{
	uint32_t value = TULIP_CSR5_ONES | tulip->csr5 | tulip->bus_error << TULIP_CSR5_EB_SHIFT |
			 (uint32_t)tulip->rx.state << TULIP_CSR5_RS_SHIFT |
			 (uint32_t)tulip->tx.state << TULIP_CSR5_TS_SHIFT;

	if (tulip->csr5 & tulip->csr7 & TULIP_CSR5_NORMAL) {
		value |= TULIP_CSR5_NIS;
	}
	if (tulip->csr5 & tulip->csr7 & TULIP_CSR5_ABNORMAL) {
		value |= TULIP_CSR5_AIS;
	}
	return value;
}

void tulip_update_irq(struct tulip *tulip)
{
	bool level = tulip_status(tulip) & tulip->csr7 & (TULIP_CSR5_NIS | TULIP_CSR5_AIS);

	tulip->is_irq_due = false;
	tulip->counters.interrupts += level && !tulip->pci.intx;
	pci_set_intx(&tulip->pci, level);
}

void tulip_raise(struct tulip *tulip, uint32_t events)
{
	tulip->csr5 |= events;
	tulip->is_irq_due = true;
}

/* The data sheet disables all bus accesses until a reset; so both processes have stopped. */
void tulip_bus_error(struct tulip *tulip)
{
	tulip->is_dead = true;
	tulip->bus_error = TULIP_EB_MASTER_ABORT;
	tulip->tx.state = TULIP_TS_STOPPED;
	tulip->rx.state = TULIP_RS_STOPPED;
	tulip->tx.is_stopping = false;
	tulip->counters.bus_errors++;
	pci_put(&tulip->pci, PCI_STATUS,
		pci_get(&tulip->pci, PCI_STATUS, 2) | PCI_STATUS_MASTER_ABORT, 2);
	tulip_raise(tulip, TULIP_CSR5_FBE);
}

/* Of software (CSR0, SWR) or of power. Software's keeps the port (CSR6, PS) and the PHY, which has its own. */
void tulip_power_on(struct tulip *tulip, bool is_soft)
{
	uint32_t port = is_soft ? tulip->csr6 & TULIP_CSR6_PS : 0;

	tulip->csr0 = tulip->csr3 = tulip->csr4 = tulip->csr5 = tulip->csr7 = 0;
	tulip->csr10 = tulip->csr15 = tulip->timer_value = 0;
	tulip->csr6 = TULIP_CSR6_RESET | port;
	tulip->bus_error = 0;
	tulip->timer_end_ns = 0;
	tulip->pins = tulip->pins_out = 0;
	tulip->missed = tulip->overflow = 0;
	tulip->is_dead = false;
	memset(tulip->setup, 0, sizeof(tulip->setup));
	tulip->rx.at = tulip->tx.at = 0;
	tulip->rx.state = TULIP_RS_STOPPED;
	tulip->rx.is_late = false;
	tulip->tx.state = TULIP_TS_STOPPED;
	tulip->tx.is_stopping = false;
	tulip->tx.epoch++; /* T2 */
	if (!is_soft) {
		tulip->csr9 = 0;
		tulip_srom_init(&tulip->srom, tulip->mac);
		tulip_phy_reset(&tulip->phy);
	}
	loop_post(tulip->loop, &tulip->timer_work);
	loop_post(tulip->loop, &tulip->rx_work); /* a frame that waits is lost */
	tulip_update_irq(tulip);
}

/* ---- the timer (3.2.2.11) ------------------------------------------------------------------------------ */

uint64_t tulip_timer_tick_ns(const struct tulip *tulip)
{
	if (!(tulip->csr6 & TULIP_CSR6_PS)) {
		return TULIP_CSR11_TICK_SRL_NS;
	}
	return tulip->csr6 & TULIP_CSR6_TTM ? TULIP_CSR11_TICK_10_NS : TULIP_CSR11_TICK_NS;
}

/* It has run out, or is armed for when it will. */
static void timer_look(struct tulip *tulip)
{
	uint64_t now_ns = loop_now_ns(), end_ns;

	chipset_lock(tulip->chipset);
	if (tulip->timer_end_ns && tulip->timer_end_ns <= now_ns && !tulip->is_paused) {
		uint32_t ticks = tulip->timer_value & 0xffff;
		bool again = tulip->timer_value & TULIP_CSR11_CONTINUOUS && ticks;

		tulip->timer_end_ns = again ? now_ns + ticks * tulip_timer_tick_ns(tulip) : 0;
		tulip_raise(tulip, TULIP_CSR5_GTE);
		tulip_update_irq(tulip);
	}
	end_ns = tulip->is_paused ? 0 : tulip->timer_end_ns;
	chipset_unlock(tulip->chipset);
	if (end_ns) {
		loop_timer_arm(&tulip->timer, end_ns - now_ns);
	} else {
		loop_timer_cancel(&tulip->timer);
	}
}

static void on_timer(struct loop_timer *timer)
{
	timer_look(container_of(timer, struct tulip, timer));
}

static void on_timer_work(struct loop_work *work)
{
	timer_look(container_of(work, struct tulip, timer_work));
}

/* ---- PCI ------------------------------------------------------------------------------------------------ */

static void config_written(struct pci_function *function, uint32_t offset, unsigned int bytes)
{
	struct tulip *tulip = container_of(function, struct tulip, pci);

	/* It may be master, or is awake, again: what waits goes on. */
	if (offset < PCI_COMMAND + 2 || offset >= TULIP_CFDA) {
		loop_post(tulip->loop, &tulip->tx_work);
		loop_post(tulip->loop, &tulip->rx_work);
	}
}

static void bar_moved(struct pci_function *function, unsigned int bar, uint64_t base,
		      bool is_mapped)
{
	struct tulip *tulip = container_of(function, struct tulip, pci);

	for (unsigned int i = 0; i < DOORBELLS && bar <= BAR_MEMORY; i++) {
		uint64_t at = base + TULIP_CSR(i + 1);
		int fd = tulip->bells[i].fd;
		bool *is_added = &tulip->bells[i].is_added[bar];

		if (*is_added) {
			doorbell_remove(&tulip->doorbells, bar == BAR_PORTS, at, 4, fd);
		}
		/* Without one the write exits to us. */
		*is_added = is_mapped && fd >= 0 &&
			    !doorbell_add(&tulip->doorbells, bar == BAR_PORTS, at, 4, fd);
	}
}

static const struct pci_function_ops pci_ops = {
	.config_written = config_written,
	.bar_moved = bar_moved,
};

static uint64_t rom_read(void *ctx, uint64_t offset, unsigned int bytes)
{
	const struct tulip *tulip = ctx;
	uint64_t value = 0;

	for (unsigned int i = 0; i < bytes; i++) {
		value |= (uint64_t)tulip->rom[offset + i] << 8 * i;
	}
	return value;
}

static void rom_write(void *ctx, uint64_t offset, uint64_t value, unsigned int bytes)
{
}

static const struct io_region_ops rom_ops = { rom_read, rom_write };

static void init_function(struct tulip *tulip)
{
	static const struct pci_identity identity = {
		.vendor = TULIP_PCI_VENDOR,
		.device = TULIP_PCI_DEVICE,
		.revision = TULIP_PCI_REVISION,
		.class_code = CLASS_ETHERNET,
		.subsystem_vendor = TULIP_PCI_SUBSYSTEM_VENDOR,
		.subsystem_device = TULIP_PCI_SUBSYSTEM_DEVICE,
		.interrupt_pin = 1,
	};
	struct pci_function *pci = &tulip->pci;

	pci_function_init(pci, "21140", &identity);
	pci->ops = &pci_ops;
	pci_put(pci, PCI_STATUS, PCI_STATUS_FAST_BACK | PCI_STATUS_MEDIUM, 2);
	pci_put(pci, PCI_MIN_GRANT, TULIP_PCI_MIN_GRANT, 1);
	pci_put(pci, PCI_MAX_LATENCY, TULIP_PCI_MAX_LATENCY, 1);
	pci->writable[PCI_COMMAND] |=
		COMMAND_WRITE_INVALIDATE; /* which it can; here a write is a write */
	pci->writable[TULIP_CFDA + 1] = TULIP_CFDA_DRIVER >> 8;
	pci->writable[TULIP_CFDA + 3] = (TULIP_CFDA_SLEEP | TULIP_CFDA_SNOOZE) >> 24;
	pci->bars[BAR_PORTS] = (struct pci_bar){ .bytes = TULIP_BAR_BYTES,
						 .is_io = true,
						 .ops = &tulip_csr_ops,
						 .ctx = tulip,
						 .name = "21140 ports" };
	pci->bars[BAR_MEMORY] = (struct pci_bar){
		.bytes = TULIP_BAR_BYTES, .ops = &tulip_csr_ops, .ctx = tulip, .name = "21140"
	};
	if (tulip->rom_bytes) {
		pci->bars[PCI_BAR_ROM] = (struct pci_bar){ .bytes = tulip->rom_bytes,
							   .ops = &rom_ops,
							   .ctx = tulip,
							   .name = "21140 ROM" };
	}
}

/* ---- doorbells ------------------------------------------------------------------------------------------ */

static void on_tx_bell(struct loop_watch *watch, uint32_t poll_events)
{
	struct tulip *tulip = container_of(watch, struct tulip, bells[0].watch);

	chipset_lock(tulip->chipset);
	tulip_tx_demand(tulip);
	chipset_unlock(tulip->chipset);
	tulip_tx_run(tulip);
}

static void on_rx_bell(struct loop_watch *watch, uint32_t poll_events)
{
	struct tulip *tulip = container_of(watch, struct tulip, bells[1].watch);

	chipset_lock(tulip->chipset);
	tulip_rx_demand(tulip);
	tulip_update_irq(tulip);
	chipset_unlock(tulip->chipset);
}

static int init_doorbells(struct tulip *tulip)
{
	static loop_watch_fn *const fns[DOORBELLS] = { on_tx_bell, on_rx_bell };

	for (unsigned int i = 0; i < DOORBELLS && tulip->doorbells.ops; i++) {
		int err;

		tulip->bells[i].fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
		if (tulip->bells[i].fd < 0) {
			return -errno;
		}
		err = loop_watch_start(tulip->loop, &tulip->bells[i].watch, tulip->bells[i].fd,
				       POLLIN, fns[i]);
		if (err) {
			return err;
		}
	}
	return 0;
}

static void fini_doorbells(struct tulip *tulip)
{
	for (unsigned int i = 0; i < DOORBELLS; i++) {
		loop_watch_stop(&tulip->bells[i].watch);
		if (tulip->bells[i].fd >= 0) {
			close(tulip->bells[i].fd);
		}
	}
}

/* ---- the net -------------------------------------------------------------------------------------------- */

void tulip_link_update(struct tulip *tulip)
{
	bool is_up = tulip->is_cable_in && tulip->net && net_link_is_up(tulip->net);

	chipset_lock(tulip->chipset);
	tulip_phy_set_link(&tulip->phy, is_up);
	chipset_unlock(tulip->chipset);
	/* Frames that waited for the net are lost on a wire that leads nowhere. */
	loop_post(tulip->loop, &tulip->tx_work);
}

int tulip_set_net(struct tulip *tulip, struct net *net)
{
	struct net_front_config config = { .mtu = TULIP_MTU };
	int err = 0;

	if (tulip->net) {
		net_detach(tulip->net);
		tulip->net = NULL;
		tulip->rx.is_held = false;
		loop_timer_cancel(&tulip->hold_timer);
	}
	if (net) {
		check(net_loop(net) == tulip->loop);
		memcpy(config.mac, tulip->mac, sizeof(config.mac));
		err = net_attach(net, &tulip->front, &config);
		tulip->net = err ? NULL : net;
	}
	tulip_link_update(tulip);
	return err;
}

struct net *tulip_net(const struct tulip *tulip)
{
	return tulip->net;
}

void tulip_set_cable(struct tulip *tulip, bool is_in)
{
	tulip->is_cable_in = is_in;
	tulip_link_update(tulip);
}

bool tulip_link_is_up(const struct tulip *tulip)
{
	return tulip->phy.link;
}

/* ---- life ----------------------------------------------------------------------------------------------- */

static void init_work(struct tulip *tulip)
{
	loop_work_init(&tulip->tx_work, tulip_on_tx_work);
	loop_work_init(&tulip->rx_work, tulip_on_rx_work);
	loop_work_init(&tulip->timer_work, on_timer_work);
	loop_timer_init(&tulip->timer, tulip->loop, on_timer);
	loop_timer_init(&tulip->poll_timer, tulip->loop, tulip_on_tx_poll);
	loop_timer_init(&tulip->hold_timer, tulip->loop, tulip_on_rx_hold);
}

static bool is_rom_size(uint32_t bytes)
{
	return num_is_power_of_2(bytes) && bytes >= ROM_BYTES_MIN && bytes <= TULIP_ROM_BYTES_MAX;
}

int tulip_create(const struct tulip_config *config, struct tulip **ret)
{
	struct tulip *tulip;
	int err;

	if (config->rom && !is_rom_size(config->rom_bytes)) {
		return -EINVAL;
	}
	tulip = fault_alloc(1, sizeof(*tulip));
	if (!tulip) {
		return -ENOMEM;
	}
	tulip->chipset = config->chipset;
	tulip->mem = config->mem;
	tulip->loop = config->loop;
	tulip->doorbells = config->doorbells;
	tulip->rom = config->rom;
	tulip->rom_bytes = config->rom ? config->rom_bytes : 0;
	memcpy(tulip->mac, config->mac, sizeof(tulip->mac));
	tulip->front.ops = &tulip_front_ops;
	tulip->is_cable_in = true;
	tulip->bells[0].fd = tulip->bells[1].fd = -1;
	tulip_crc_init(&tulip->crc);
	init_work(tulip);
	init_function(tulip);
	tulip_power_on(tulip, false);
	err = init_doorbells(tulip);
	if (!err) {
		err = tulip_set_net(tulip, config->net);
	}
	if (!err) {
		err = pci_add(config->bus, &tulip->pci, config->devfn);
	}
	if (err) {
		tulip_destroy(tulip);
		return err;
	}
	*ret = tulip;
	return 0;
}

void tulip_destroy(struct tulip *tulip)
{
	if (!tulip) {
		return;
	}
	pci_remove(&tulip->pci); /* no vCPU is in it any more */
	if (tulip->net) {
		net_detach(tulip->net);
	}
	loop_cancel(tulip->loop, &tulip->tx_work);
	loop_cancel(tulip->loop, &tulip->rx_work);
	loop_cancel(tulip->loop, &tulip->timer_work);
	loop_timer_cancel(&tulip->timer);
	loop_timer_cancel(&tulip->poll_timer);
	loop_timer_cancel(&tulip->hold_timer);
	fini_doorbells(tulip);
	free(tulip);
}

void tulip_pause(struct tulip *tulip)
{
	chipset_lock(tulip->chipset);
	tulip->is_paused = true;
	chipset_unlock(tulip->chipset);
	loop_timer_cancel(&tulip->timer);
	loop_timer_cancel(&tulip->poll_timer);
	loop_timer_cancel(&tulip->hold_timer);
}

void tulip_resume(struct tulip *tulip)
{
	chipset_lock(tulip->chipset);
	tulip->is_paused = false;
	tulip->rx.held_ns = loop_now_ns();
	tulip_tx_look(tulip); /* a doorbell that nobody heard before it was saved */
	chipset_unlock(tulip->chipset);
	loop_post(tulip->loop, &tulip->tx_work);
	loop_post(tulip->loop, &tulip->rx_work);
	loop_post(tulip->loop, &tulip->timer_work);
}

void tulip_reset(struct tulip *tulip)
{
	chipset_lock(tulip->chipset);
	tulip_power_on(tulip, false);
	pci_function_reset(&tulip->pci);
	pci_put(&tulip->pci, TULIP_CFDA, 0, 4);
	chipset_unlock(tulip->chipset);
}
