/* SPDX-License-Identifier: MIT */
/*
 * Register noise against the whole chipset: each input is a sequence of accesses (what and how wide,
 * port, value), and once in a while a reset or a state saved and loaded back. The noise ends in a
 * load of the input itself as a state.
 */
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/num.h"
#include "chipset/i8042.h"
#include "chipset/pm.h"
#include "chipset/rtc.h"
#include "chipset/uart.h"
#include "proto/board.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct machine {
	struct loop *loop;
	struct chipset *chipset;
	struct serial *serial;
	struct uart *uart;
	struct rtc *rtc;
	struct pm *pm;
	struct i8042 *i8042;
};

static void ignore(void *ctx)
{
}

static const struct chipset_power_ops power_ops = { ignore, ignore };

static void machine_init(struct machine *m)
{
	const struct chipset_power power = { &power_ops, NULL };
	const struct irq_line line = { 0 };
	struct diag diag;

	check(loop_create("fuzz", &m->loop, &diag) == 0);
	check(chipset_create(&m->chipset) == 0);
	check(serial_create(m->loop, "none", &m->serial, &diag) == 0);
	check(uart_create(m->chipset, BOARD_COM1_PORT, &line, m->serial, &m->uart) == 0);
	check(rtc_create(m->chipset, m->loop, BOARD_RTC_PORT, &line, &m->rtc) == 0);
	check(pm_create(m->chipset, &line, &power, &m->pm) == 0);
	check(i8042_create(m->chipset, &power, &m->i8042) == 0);
}

static void machine_fini(struct machine *m)
{
	i8042_destroy(m->i8042);
	pm_destroy(m->pm);
	rtc_destroy(m->rtc);
	uart_destroy(m->uart);
	serial_destroy(m->serial);
	chipset_destroy(m->chipset);
	loop_destroy(m->loop);
}

/* Each device in turn is given the bytes as its state: 0 or -EBADMSG, nothing worse. */
static void machine_load(struct machine *m, const uint8_t *bytes, size_t size)
{
	struct load load;
	int ignored;

	load_init(&load, bytes, size);
	ignored = uart_load(m->uart, &load);
	load_init(&load, bytes, size);
	ignored |= rtc_load(m->rtc, &load);
	load_init(&load, bytes, size);
	ignored |= pm_load(m->pm, &load);
	load_init(&load, bytes, size);
	ignored |= i8042_load(m->i8042, &load);
	(void)ignored;
}

static void machine_save_and_load(struct machine *m)
{
	const uint8_t *bytes;
	struct save save;
	struct load load;
	size_t length;

	save_init(&save);
	uart_save(m->uart, &save);
	check(save_finish(&save, &bytes, &length) == 0);
	load_init(&load, bytes, length);
	check(uart_load(m->uart, &load) == 0);
	save_fini(&save);
}

static uint16_t pick_port(uint8_t byte)
{
	static const uint16_t ports[] = { 0x60,  0x64,  0x70,  0x71,  0x600, 0x602, 0x604,
					  0x608, 0xcf8, 0xcf9, 0xcfc, 0xcfe, 0x3ff, 0x6f };

	return byte & 0x80 ? ports[byte % ARRAY_SIZE(ports)]
			   : (uint16_t)(BOARD_COM1_PORT + (byte & 7));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct bytes_cursor c = bytes_cursor(data, size);
	struct machine m;

	machine_init(&m);
	while (c.left >= 6) {
		uint8_t what = bytes_take_u8(&c);
		uint16_t port = pick_port(bytes_take_u8(&c));
		uint32_t value = bytes_take_le32(&c);
		unsigned int bytes = 1U << (what & 3) % 3;

		if (what < 0xf0) {
			chipset_pio(m.chipset, port, what & 4, &value, bytes, 1);
		} else if (what < 0xf4) {
			loop_turn(m.loop);
		} else if (what < 0xf8) {
			machine_save_and_load(&m);
		} else if (what < 0xfc) {
			pm_press_power_button(m.pm);
		} else {
			uart_reset(m.uart);
			rtc_reset(m.rtc);
		}
	}
	machine_load(&m, data, size);
	machine_fini(&m);
	return 0;
}
