/* SPDX-License-Identifier: MIT */
/*
 * A serial port: National Semiconductor's 16550A, on a serial back end.
 *
 * Lossless both ways as long as the guest looks at LSR: what the back end has no room for stays in
 * the transmit FIFO and THRE stays off; input waits in the back end while the receive FIFO is full.
 * Transmission takes no time, so a driver that polls LSR never spins.
 *
 *   owner   vm    thread  vCPU threads and the back end's loop, under the chipset lock
 *   spec    National Semiconductor PC16550D data sheet
 */
#pragma once

#include <stdint.h>

#include "chipset/chipset.h"
#include "console/serial.h"
#include "state/load.h"
#include "state/save.h"

struct uart;

/* serial is borrowed until uart_destroy(); port: the first of its 8. 0, -ENOMEM or chipset_pio_add's. */
MUST_CHECK int uart_create(struct chipset *chipset, uint16_t port, const struct irq_line *irq,
			   struct serial *serial, struct uart **ret);
void uart_destroy(struct uart *uart);

/* Any thread, while the vCPUs are out. */
void uart_reset(struct uart *uart);
void uart_save(struct uart *uart, struct save *save);
MUST_CHECK int uart_load(struct uart *uart, struct load *load);

/* Any thread. */
void uart_inspect(struct uart *uart, struct inspect *at);
