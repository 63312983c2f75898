/* SPDX-License-Identifier: MIT */
/* The port on a socket, driven as Linux' 8250 driver drives it. */
#include "rig.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "chipset/uart.h"

#define PORT 0x3f8
enum { DATA, IER, IIR, LCR, MCR, LSR, MSR, SCR };
#define FCR 2

struct fixture {
	struct rig rig;
	struct serial *serial;
	struct uart *uart;
	char dir[32], spec[64];
	int peer;
};

static void fixture_init(struct fixture *f)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	struct irq_line line = rig_line(&f->rig);
	struct diag diag;

	rig_init(&f->rig);
	strcpy(f->dir, "/tmp/uart-test-XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	(void)snprintf(f->spec, sizeof(f->spec), "unix:%s/s", f->dir);
	assert_int_equal(serial_create(f->rig.loop, f->spec, &f->serial, &diag), 0);
	assert_int_equal(uart_create(f->rig.chipset, PORT, &line, f->serial, &f->uart), 0);
	(void)snprintf(address.sun_path, sizeof(address.sun_path), "%s/s", f->dir);
	f->peer = socket(AF_UNIX, SOCK_STREAM, 0);
	assert_int_equal(connect(f->peer, (struct sockaddr *)&address, sizeof(address)), 0);
	rig_turn(&f->rig, 5);
}

static void fixture_fini(struct fixture *f)
{
	close(f->peer);
	uart_destroy(f->uart);
	serial_destroy(f->serial);
	rmdir(f->dir);
	rig_fini(&f->rig);
}

static uint8_t in(struct fixture *f, uint16_t reg)
{
	return rig_in(&f->rig, PORT + reg);
}

static void out(struct fixture *f, uint16_t reg, uint8_t value)
{
	rig_out(&f->rig, PORT + reg, value);
}

static void type(struct fixture *f, const char *text)
{
	assert_int_equal(write(f->peer, text, strlen(text)), strlen(text));
	rig_turn(&f->rig, 5);
}

/* What has arrived at the peer. */
static const char *shown(struct fixture *f)
{
	static char text[8192];
	ssize_t got;

	rig_turn(&f->rig, 10);
	got = recv(f->peer, text, sizeof(text) - 1, MSG_DONTWAIT);
	text[got > 0 ? got : 0] = 0;
	return text;
}

/* 8250_port.c: autoconfig(), autoconfig_16550a(). */
static void linux_takes_it_for_a_16550a(void **state)
{
	struct fixture f;
	uint8_t status1, status2;

	fixture_init(&f);
	out(&f, IER, 0);
	assert_int_equal(in(&f, IER), 0);
	out(&f, IER, 0x0f);
	assert_int_equal(in(&f, IER), 0x0f);
	out(&f, IER, 0);
	out(&f, MCR, 0x1a); /* loopback, OUT2, RTS */
	assert_int_equal(in(&f, MSR) & 0xf0, 0x90);
	out(&f, MCR, 0);
	out(&f, LCR, 0xbf);
	out(&f, FCR, 0);
	out(&f, LCR, 0);
	out(&f, FCR, 1);
	assert_int_equal(in(&f, IIR) >> 6, 3);
	/* No 16750: the 64-byte bit does not show. */
	out(&f, FCR, 0x21);
	status1 = in(&f, IIR) >> 5;
	out(&f, LCR, 0x80);
	out(&f, FCR, 0x21);
	status2 = in(&f, IIR) >> 5;
	out(&f, LCR, 0);
	assert_int_equal(status1, 6);
	assert_int_equal(status2, 6);
	/* No XScale: UUE does not stick. */
	out(&f, IER, 0x40);
	assert_int_equal(in(&f, IER), 0);
	out(&f, SCR, 0x5a);
	assert_int_equal(in(&f, SCR), 0x5a);
	fixture_fini(&f);
}

/* serial8250_THRE_test() and the TXEN test of startup. */
static void the_transmit_interrupt_comes_again_when_enabled_again(void **state)
{
	struct fixture f;

	fixture_init(&f);
	for (unsigned int i = 0; i < 2; i++) {
		out(&f, IER, 2);
		assert_true(f.rig.level);
		assert_int_equal(in(&f, IIR) & 0x0f, 2);
		assert_false(f.rig.level);
		assert_int_equal(in(&f, IIR) & 0x0f, 1);
		out(&f, IER, 0);
	}
	assert_int_equal(in(&f, LSR) & 0x60, 0x60);
	fixture_fini(&f);
}

/* One interrupt carries all output, however long. */
static void output_needs_one_interrupt(void **state)
{
	struct fixture f;
	char want[161] = { 0 };
	size_t sent = 0;

	fixture_init(&f);
	out(&f, FCR, 1);
	memset(want, 'x', 160);
	out(&f, IER, 2);
	while (sent < 160 && (in(&f, IIR) & 0x0f) == 2) {
		for (unsigned int i = 0; i < 16; i++, sent++) {
			out(&f, DATA, (uint8_t)want[sent]);
		}
	}
	out(&f, IER, 0);
	assert_int_equal(sent, 160);
	assert_string_equal(shown(&f), want);
	/* The first, and one edge for each FIFO that the driver wrote after it had asked IIR. */
	assert_true(f.rig.raised <= 11);
	fixture_fini(&f);
}

static void input_arrives_in_order_with_back_pressure(void **state)
{
	char text[1001] = { 0 };
	struct fixture f;
	size_t got = 0;

	fixture_init(&f);
	for (size_t i = 0; i < 1000; i++) {
		text[i] = (char)('a' + i % 26);
	}
	out(&f, FCR, 0x81); /* trigger at 8 */
	out(&f, IER, 1);
	type(&f, text);
	while (got < 1000) {
		assert_true(f.rig.level);
		assert_int_equal(in(&f, IIR) & 0x07, 4);
		while (in(&f, LSR) & 1) {
			assert_int_equal(in(&f, DATA), text[got++]);
		}
		rig_turn(&f.rig, 1);
	}
	assert_false(f.rig.level);
	assert_int_equal(in(&f, LSR) & 0x1e, 0); /* no error of any kind */
	fixture_fini(&f);
}

static void less_than_the_trigger_is_a_time_out(void **state)
{
	struct fixture f;

	fixture_init(&f);
	out(&f, FCR, 0xc1); /* trigger at 14 */
	out(&f, IER, 1);
	type(&f, "hi");
	assert_int_equal(in(&f, IIR) & 0x0f, 0x0c);
	assert_int_equal(in(&f, DATA), 'h');
	assert_int_equal(in(&f, DATA), 'i');
	assert_int_equal(in(&f, IIR) & 0x0f, 1);
	fixture_fini(&f);
}

static void loopback_does_not_leave_the_port(void **state)
{
	struct fixture f;

	fixture_init(&f);
	out(&f, FCR, 1);
	out(&f, MCR, 0x10);
	for (unsigned int i = 0; i < 17; i++) {
		out(&f, DATA, (uint8_t)('0' + i));
	}
	assert_int_equal(in(&f, LSR) & 3, 3); /* data, and an overrun */
	assert_int_equal(in(&f, LSR) & 3, 1);
	assert_int_equal(in(&f, DATA), '0');
	type(&f, "x");
	out(&f, FCR, 3);
	assert_int_equal(in(&f, LSR) & 1, 0);
	out(&f, MCR, 0x0b);
	rig_turn(&f.rig, 5);
	assert_int_equal(in(&f, DATA), 'x'); /* it had waited */
	assert_string_equal(shown(&f), "");
	fixture_fini(&f);
}

static void modem_lines_show_a_ready_peer(void **state)
{
	struct fixture f;

	fixture_init(&f);
	assert_int_equal(in(&f, MSR), 0xb0);
	out(&f, IER, 8);
	out(&f, MCR, 0x10);
	assert_true(f.rig.level);
	assert_int_equal(in(&f, IIR) & 0x0f, 0);
	assert_int_equal(in(&f, MSR), 0x0b);
	assert_false(f.rig.level);
	fixture_fini(&f);
}

static void state_survives(void **state)
{
	const uint8_t *bytes, *again;
	struct save a, b;
	struct load load;
	struct fixture f;
	size_t length, length_again;

	fixture_init(&f);
	out(&f, FCR, 0xc1);
	out(&f, IER, 5);
	out(&f, LCR, 3);
	out(&f, MCR, 0x0b);
	type(&f, "abc");
	save_init(&a);
	uart_save(f.uart, &a);
	assert_int_equal(save_finish(&a, &bytes, &length), 0);
	uart_reset(f.uart);
	assert_false(f.rig.level);
	assert_int_equal(in(&f, LSR) & 1, 0);
	load_init(&load, bytes, length);
	assert_int_equal(uart_load(f.uart, &load), 0);
	assert_true(f.rig.level);
	save_init(&b);
	uart_save(f.uart, &b);
	assert_int_equal(save_finish(&b, &again, &length_again), 0);
	assert_int_equal(length, length_again);
	assert_memory_equal(bytes, again, length);
	assert_int_equal(in(&f, DATA), 'a');
	assert_int_equal(in(&f, MCR), 0x0b);
	save_fini(&a);
	save_fini(&b);
	fixture_fini(&f);
}

static void a_damaged_state_is_refused(void **state)
{
	struct fixture f;
	const uint8_t *bytes;
	struct save save;
	struct load load;
	size_t length;
	uint8_t long_fifo[17] = { 0 };

	fixture_init(&f);
	save_init(&save);
	save_bytes(&save, 2, long_fifo, sizeof(long_fifo));
	assert_int_equal(save_finish(&save, &bytes, &length), 0);
	load_init(&load, bytes, length);
	assert_int_equal(uart_load(f.uart, &load), -EBADMSG);
	save_fini(&save);
	fixture_fini(&f);
}

/* A file back end that is full: THRE goes away, nothing is lost, it comes back. */
static void a_full_back_end_holds_the_guest(void **state)
{
	char dir[] = "/tmp/uart-test-XXXXXX", spec[64];
	struct irq_line line;
	struct serial *serial;
	struct serial_stats stats;
	struct uart *uart;
	struct diag diag;
	struct rig rig;
	uint32_t sent = 0;

	rig_init(&rig);
	line = rig_line(&rig);
	assert_non_null(mkdtemp(dir));
	(void)snprintf(spec, sizeof(spec), "file:%s/f", dir);
	assert_int_equal(serial_create(rig.loop, spec, &serial, &diag), 0);
	assert_int_equal(uart_create(rig.chipset, PORT, &line, serial, &uart), 0);
	rig_out(&rig, PORT + FCR, 1);
	while (rig_in(&rig, PORT + LSR) & 0x20) { /* the loop does not run */
		rig_out(&rig, PORT + DATA, (uint8_t)sent++);
		assert_true(sent <= SERIAL_RING_BYTES + 1);
	}
	assert_int_equal(sent, SERIAL_RING_BYTES + 1);
	rig_out(&rig, PORT + IER, 2);
	assert_false(rig.level);
	rig_turn(&rig, 20);
	assert_true(rig.level);
	assert_int_equal(rig_in(&rig, PORT + LSR) & 0x20, 0x20);
	rig_turn(&rig, 10);
	serial_read_stats(serial, &stats);
	assert_int_equal(stats.written_bytes, sent);
	assert_int_equal(stats.dropped_bytes, 0);
	uart_destroy(uart);
	serial_destroy(serial);
	unlink(spec + 5);
	rmdir(dir);
	rig_fini(&rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(linux_takes_it_for_a_16550a),
		cmocka_unit_test(the_transmit_interrupt_comes_again_when_enabled_again),
		cmocka_unit_test(output_needs_one_interrupt),
		cmocka_unit_test(input_arrives_in_order_with_back_pressure),
		cmocka_unit_test(less_than_the_trigger_is_a_time_out),
		cmocka_unit_test(loopback_does_not_leave_the_port),
		cmocka_unit_test(modem_lines_show_a_ready_peer),
		cmocka_unit_test(state_survives),
		cmocka_unit_test(a_damaged_state_is_refused),
		cmocka_unit_test(a_full_back_end_holds_the_guest),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
