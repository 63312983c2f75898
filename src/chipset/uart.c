/* SPDX-License-Identifier: MIT */
/*
 * Interrupts, by priority; the line is the OR of the enabled ones:
 *
 *     line status    an overrun                              ends: LSR is read
 *     data           the receive FIFO has its trigger level  ends: fewer are in it
 *     time-out       less than that, but something           ends: it is empty. The chip waits four
 *                    characters' time first; our input comes in bursts, so we do not
 *     THR empty      it became so, or was it when the        ends: IIR has named it, or THR written
 *                    interrupt was enabled
 *     modem          a delta bit of MSR                      ends: MSR is read
 *
 * A byte written to THR has left at once, so writing a FIFO full of them raises the line once and
 * changes it no more: a driver that looks at IIR again before it returns needs one interrupt for
 * all its output.
 */
#include "chipset/uart.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/fault.h"

#define UART_PORTS      8
#define UART_FIFO_BYTES 16U

enum { REG_DATA, REG_IER, REG_IIR_FCR, REG_LCR, REG_MCR, REG_LSR, REG_MSR, REG_SCR };

#define IER_DATA          0x01U
#define IER_THR_EMPTY     0x02U
#define IER_LINE_STATUS   0x04U
#define IER_MODEM         0x08U
#define IER_MASK          0x0fU

#define IIR_MODEM         0x00U
#define IIR_NONE          0x01U
#define IIR_THR_EMPTY     0x02U
#define IIR_DATA          0x04U
#define IIR_LINE_STATUS   0x06U
#define IIR_TIMEOUT       0x0cU
#define IIR_FIFOS_ON      0xc0U

#define FCR_ENABLE        0x01U
#define FCR_CLEAR_RX      0x02U
#define FCR_CLEAR_TX      0x04U
#define FCR_TRIGGER_SHIFT 6
#define FCR_STORED        0xc9U

#define LCR_DIVISOR       0x80U

#define MCR_DTR           0x01U
#define MCR_RTS           0x02U
#define MCR_OUT1          0x04U
#define MCR_OUT2          0x08U
#define MCR_LOOPBACK      0x10U
#define MCR_MASK          0x1fU

#define LSR_DATA_READY    0x01U
#define LSR_OVERRUN       0x02U
#define LSR_THR_EMPTY     0x20U
#define LSR_TX_IDLE       0x40U

#define MSR_DELTAS        0x0fU
#define MSR_DELTA_RI      0x04U
#define MSR_CTS           0x10U
#define MSR_DSR           0x20U
#define MSR_RI            0x40U
#define MSR_DCD           0x80U
#define MSR_PEER_READY    (MSR_CTS | MSR_DSR | MSR_DCD)

enum {
	UART_STATE_REGISTERS = 1, /* struct uart_registers, one byte each, in its order */
	UART_STATE_RX = 2,
	UART_STATE_TX = 3,
	UART_STATE_THR_EMPTY = 4,
};

struct uart_registers {
	uint8_t ier, fcr, lcr, mcr, msr, scr, dll, dlm, overrun;
};

struct uart_fifo {
	uint8_t bytes[UART_FIFO_BYTES];
	unsigned int head, count;
};

struct uart {
	struct chipset *chipset; /* borrowed */
	struct serial *serial;   /* borrowed */
	struct irq_line irq;
	bool level;
	bool thr_empty_pending; /* the THR empty interrupt waits to be named by IIR */
	bool input_waits;       /* the back end was not relieved of all it offered */
	struct uart_registers r;
	struct uart_fifo rx;
	struct uart_fifo tx; /* only what the back end had no room for */

	uint64_t rx_bytes, tx_bytes, tx_lost, rx_overruns, interrupts;
};

static void fifo_put(struct uart_fifo *fifo, uint8_t byte)
{
	fifo->bytes[(fifo->head + fifo->count) % UART_FIFO_BYTES] = byte;
	fifo->count++;
}

static uint8_t fifo_get(struct uart_fifo *fifo)
{
	uint8_t byte = fifo->bytes[fifo->head];

	fifo->head = (fifo->head + 1) % UART_FIFO_BYTES;
	fifo->count--;
	return byte;
}

/* Both FIFOs' depth: without FIFOs there is one register each. */
static unsigned int uart_depth(const struct uart *uart)
{
	return uart->r.fcr & FCR_ENABLE ? UART_FIFO_BYTES : 1;
}

static unsigned int uart_trigger(const struct uart *uart)
{
	static const uint8_t levels[] = { 1, 4, 8, 14 };

	return uart->r.fcr & FCR_ENABLE ? levels[uart->r.fcr >> FCR_TRIGGER_SHIFT] : 1;
}

/* The interrupt of highest priority: an IIR_* without the FIFO bits. */
static uint8_t uart_interrupt(const struct uart *uart)
{
	uint8_t ier = uart->r.ier;

	if ((ier & IER_LINE_STATUS) && uart->r.overrun) {
		return IIR_LINE_STATUS;
	}
	if ((ier & IER_DATA) && uart->rx.count > 0) {
		return uart->rx.count >= uart_trigger(uart) ? IIR_DATA : IIR_TIMEOUT;
	}
	if ((ier & IER_THR_EMPTY) && uart->thr_empty_pending) {
		return IIR_THR_EMPTY;
	}
	if ((ier & IER_MODEM) && (uart->r.msr & MSR_DELTAS)) {
		return IIR_MODEM;
	}
	return IIR_NONE;
}

static void uart_update_irq(struct uart *uart)
{
	bool level = uart_interrupt(uart) != IIR_NONE;

	if (level == uart->level) {
		return;
	}
	uart->level = level;
	uart->interrupts += level;
	irq_line_set(&uart->irq, level);
}

static void uart_update_modem(struct uart *uart)
{
	uint8_t mcr = uart->r.mcr, was = uart->r.msr, now = MSR_PEER_READY, changed;

	if (mcr & MCR_LOOPBACK) {
		now = (uint8_t)((mcr & MCR_RTS ? MSR_CTS : 0) | (mcr & MCR_DTR ? MSR_DSR : 0) |
				(mcr & MCR_OUT1 ? MSR_RI : 0) | (mcr & MCR_OUT2 ? MSR_DCD : 0));
	}
	changed = (uint8_t)((was ^ now) >> 4);
	if (now & MSR_RI) {
		changed &= (uint8_t)~MSR_DELTA_RI; /* only its trailing edge counts */
	}
	uart->r.msr = (uint8_t)(now | (was & MSR_DELTAS) | changed);
}

/* Hands what waits in the transmit FIFO to the back end. */
static void uart_drain(struct uart *uart)
{
	while (uart->tx.count > 0) {
		if (serial_write(uart->serial, &uart->tx.bytes[uart->tx.head], 1) == 0) {
			return;
		}
		fifo_get(&uart->tx);
		uart->tx_bytes++;
	}
	uart->thr_empty_pending = true;
}

static void uart_receive(struct uart *uart, uint8_t byte)
{
	if (uart->rx.count >= uart_depth(uart)) {
		uart->r.overrun = 1;
		uart->rx_overruns++;
		return;
	}
	fifo_put(&uart->rx, byte);
	uart->rx_bytes++;
}

static void uart_transmit(struct uart *uart, uint8_t byte)
{
	if (uart->r.mcr & MCR_LOOPBACK) {
		uart_receive(uart, byte);
		uart->thr_empty_pending = true;
		return;
	}
	if (uart->tx.count == 0 && serial_write(uart->serial, &byte, 1) == 1) {
		uart->tx_bytes++;
		uart->thr_empty_pending = true;
		return;
	}
	uart->thr_empty_pending = false;
	if (uart->tx.count >= uart_depth(uart)) {
		uart->tx_lost++; /* a driver that does not look at THRE */
		return;
	}
	fifo_put(&uart->tx, byte);
}

static uint8_t uart_read_data(struct uart *uart)
{
	uint8_t byte;

	if (uart->rx.count == 0) {
		return 0;
	}
	byte = fifo_get(&uart->rx);
	/* Refilled when empty: one wake-up of the loop for a FIFO full. */
	if (uart->rx.count == 0 && uart->input_waits) {
		uart->input_waits = false;
		serial_input_ready(uart->serial);
	}
	return byte;
}

static uint8_t uart_read_iir(struct uart *uart)
{
	uint8_t iir = uart_interrupt(uart);

	if (iir == IIR_THR_EMPTY) {
		uart->thr_empty_pending = false;
	}
	return (uint8_t)(iir | (uart->r.fcr & FCR_ENABLE ? IIR_FIFOS_ON : 0));
}

static uint8_t uart_read_lsr(struct uart *uart)
{
	uint8_t lsr = 0;

	if (uart->rx.count > 0) {
		lsr |= LSR_DATA_READY;
	}
	if (uart->r.overrun) {
		lsr |= LSR_OVERRUN;
	}
	if (uart->tx.count == 0) {
		lsr |= LSR_THR_EMPTY | LSR_TX_IDLE;
	}
	uart->r.overrun = 0;
	return lsr;
}

static uint8_t uart_read_msr(struct uart *uart)
{
	uint8_t msr = uart->r.msr;

	uart->r.msr &= (uint8_t)~MSR_DELTAS;
	return msr;
}

static uint64_t uart_read(void *ctx, uint64_t offset, unsigned int bytes)
{
	struct uart *uart = ctx;
	bool divisor = uart->r.lcr & LCR_DIVISOR;
	uint8_t value = 0xff;

	switch (offset) {
	case REG_DATA:
		value = divisor ? uart->r.dll : uart_read_data(uart);
		break;
	case REG_IER:
		value = divisor ? uart->r.dlm : uart->r.ier;
		break;
	case REG_IIR_FCR:
		value = uart_read_iir(uart);
		break;
	case REG_LCR:
		value = uart->r.lcr;
		break;
	case REG_MCR:
		value = uart->r.mcr;
		break;
	case REG_LSR:
		value = uart_read_lsr(uart);
		break;
	case REG_MSR:
		value = uart_read_msr(uart);
		break;
	case REG_SCR:
		value = uart->r.scr;
		break;
	default:
		break;
	}
	uart_update_irq(uart);
	return value;
}

/* Whether the back end may offer its input again. */
static void uart_relieve_input(struct uart *uart)
{
	if (uart->input_waits) {
		uart->input_waits = false;
		serial_input_ready(uart->serial);
	}
}

static void uart_write_fcr(struct uart *uart, uint8_t value)
{
	bool toggled = (value ^ uart->r.fcr) & FCR_ENABLE;

	if (!(value & FCR_ENABLE)) {
		value = 0; /* the other bits count only together with this one */
	}
	if (toggled || (value & FCR_CLEAR_RX)) {
		uart->rx.count = 0;
		uart_relieve_input(uart);
	}
	if (toggled || (value & FCR_CLEAR_TX)) {
		uart->tx_lost += uart->tx.count;
		uart->tx.count = 0;
		uart->thr_empty_pending = true;
	}
	uart->r.fcr = value & FCR_STORED;
}

static void uart_write_ier(struct uart *uart, uint8_t value)
{
	value &= IER_MASK;
	/* Enabled while THR is empty: an interrupt at once, which is how drivers start to send. */
	if ((value & ~uart->r.ier & IER_THR_EMPTY) && uart->tx.count == 0) {
		uart->thr_empty_pending = true;
	}
	uart->r.ier = value;
}

static void uart_write_mcr(struct uart *uart, uint8_t value)
{
	uart->r.mcr = value & MCR_MASK;
	uart_update_modem(uart);
	if (!(value & MCR_LOOPBACK)) {
		uart_relieve_input(uart);
	}
}

static void uart_write(void *ctx, uint64_t offset, uint64_t wide, unsigned int bytes)
{
	struct uart *uart = ctx;
	bool divisor = uart->r.lcr & LCR_DIVISOR;
	uint8_t value = (uint8_t)wide;

	switch (offset) {
	case REG_DATA:
		if (divisor) {
			uart->r.dll = value;
		} else {
			uart_transmit(uart, value);
		}
		break;
	case REG_IER:
		if (divisor) {
			uart->r.dlm = value;
		} else {
			uart_write_ier(uart, value);
		}
		break;
	case REG_IIR_FCR:
		uart_write_fcr(uart, value);
		break;
	case REG_LCR:
		uart->r.lcr = value;
		break;
	case REG_MCR:
		uart_write_mcr(uart, value);
		break;
	case REG_SCR:
		uart->r.scr = value;
		break;
	default: /* LSR and MSR are not written */
		break;
	}
	uart_update_irq(uart);
}

/* ---- the back end's side ---- */

static size_t uart_on_input(void *ctx, const uint8_t *bytes, size_t count)
{
	struct uart *uart = ctx;
	size_t taken = 0;

	chipset_lock(uart->chipset);
	if (!(uart->r.mcr & MCR_LOOPBACK)) {
		while (taken < count && uart->rx.count < uart_depth(uart)) {
			uart_receive(uart, bytes[taken++]);
		}
	}
	uart->input_waits = taken < count;
	uart_update_irq(uart);
	chipset_unlock(uart->chipset);
	return taken;
}

static void uart_on_writable(void *ctx)
{
	struct uart *uart = ctx;

	chipset_lock(uart->chipset);
	if (uart->tx.count > 0) {
		uart_drain(uart);
		uart_update_irq(uart);
	}
	chipset_unlock(uart->chipset);
}

static const struct serial_user_ops uart_serial_ops = {
	.on_input = uart_on_input,
	.on_writable = uart_on_writable,
};

/* ---- life ---- */

static const struct io_region_ops uart_io_ops = { uart_read, uart_write };

static void uart_power_on(struct uart *uart)
{
	uart->r = (struct uart_registers){ .msr = MSR_PEER_READY, .dll = 12 };
	uart->rx.count = 0;
	uart->tx.count = 0;
	uart->thr_empty_pending = false;
	uart_relieve_input(uart);
}

int uart_create(struct chipset *chipset, uint16_t port, const struct irq_line *irq,
		struct serial *serial, struct uart **ret)
{
	struct uart *uart = fault_alloc(1, sizeof(*uart));
	int err;

	if (!uart) {
		return -ENOMEM;
	}
	uart->chipset = chipset;
	uart->serial = serial;
	uart->irq = *irq;
	uart_power_on(uart);

	err = chipset_pio_add(chipset,
			      &(struct io_region){ &uart_io_ops, uart, port, UART_PORTS, "uart" });
	if (err) {
		free(uart);
		return err;
	}
	serial_attach(serial, &uart_serial_ops, uart);
	*ret = uart;
	return 0;
}

void uart_destroy(struct uart *uart)
{
	if (uart) {
		serial_attach(uart->serial, NULL, NULL);
		chipset_remove(uart->chipset, uart);
	}
	free(uart);
}

void uart_reset(struct uart *uart)
{
	chipset_lock(uart->chipset);
	uart_drain(uart); /* a last line before a reset is worth having */
	uart_power_on(uart);
	uart_update_irq(uart);
	chipset_unlock(uart->chipset);
}

static void fifo_save(const struct uart_fifo *fifo, struct save *save, uint16_t tag)
{
	uint8_t bytes[UART_FIFO_BYTES];

	for (unsigned int i = 0; i < fifo->count; i++) {
		bytes[i] = fifo->bytes[(fifo->head + i) % UART_FIFO_BYTES];
	}
	save_bytes(save, tag, bytes, fifo->count);
}

static void fifo_load(struct uart_fifo *fifo, struct load *load, const struct load_field *field)
{
	if (field->length > UART_FIFO_BYTES) {
		load_fail(load);
		return;
	}
	load_bytes(load, field, fifo->bytes, field->length);
	fifo->head = 0;
	fifo->count = field->length;
}

void uart_save(struct uart *uart, struct save *save)
{
	const struct uart_registers *r = &uart->r;

	chipset_lock(uart->chipset);

	const uint8_t registers[] = { r->ier, r->fcr, r->lcr, r->mcr,    r->msr,
				      r->scr, r->dll, r->dlm, r->overrun };

	save_bytes(save, UART_STATE_REGISTERS, registers, sizeof(registers));
	fifo_save(&uart->rx, save, UART_STATE_RX);
	fifo_save(&uart->tx, save, UART_STATE_TX);
	save_u32(save, UART_STATE_THR_EMPTY, uart->thr_empty_pending);
	chipset_unlock(uart->chipset);
}

static void registers_load(struct uart_registers *r, struct load *load,
			   const struct load_field *field)
{
	uint8_t b[9];

	load_bytes(load, field, b, sizeof(b));
	*r = (struct uart_registers){
		.ier = b[0] & IER_MASK,
		.fcr = b[1] & FCR_STORED,
		.lcr = b[2],
		.mcr = b[3] & MCR_MASK,
		.msr = b[4],
		.scr = b[5],
		.dll = b[6],
		.dlm = b[7],
		.overrun = b[8] != 0,
	};
}

int uart_load(struct uart *uart, struct load *load)
{
	struct load_field field;

	chipset_lock(uart->chipset);
	uart_power_on(uart);
	while (load_next(load, &field)) {
		switch (field.tag) {
		case UART_STATE_REGISTERS:
			registers_load(&uart->r, load, &field);
			break;
		case UART_STATE_RX:
			fifo_load(&uart->rx, load, &field);
			break;
		case UART_STATE_TX:
			fifo_load(&uart->tx, load, &field);
			break;
		case UART_STATE_THR_EMPTY:
			uart->thr_empty_pending = load_u32(load, &field) != 0;
			break;
		default:
			break;
		}
	}
	if (uart->tx.count > 0) {
		uart_drain(uart);
	}
	uart->level = uart_interrupt(uart) != IIR_NONE;
	irq_line_set(&uart->irq, uart->level);
	chipset_unlock(uart->chipset);
	return load_result(load);
}

void uart_inspect(struct uart *uart, struct inspect *at)
{
	struct serial_stats stats;

	serial_read_stats(uart->serial, &stats);
	chipset_lock(uart->chipset);
	inspect_u64(at, "tx_bytes", uart->tx_bytes);
	inspect_u64(at, "rx_bytes", uart->rx_bytes);
	inspect_u64(at, "tx_lost", uart->tx_lost);
	inspect_u64(at, "rx_overruns", uart->rx_overruns);
	inspect_u64(at, "interrupts", uart->interrupts);
	inspect_u64(at, "rx_waiting", uart->rx.count);
	inspect_u64(at, "tx_waiting", uart->tx.count);
	inspect_u64(at, "host_written_bytes", stats.written_bytes);
	inspect_u64(at, "host_dropped_bytes", stats.dropped_bytes);
	chipset_unlock(uart->chipset);
}
