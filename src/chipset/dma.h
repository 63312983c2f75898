/* SPDX-License-Identifier: MIT */
/*
 * The two 8237 DMA controllers of a PC/AT with their page registers: what firmware sets up and drivers
 * look at. No device on this board's ISA bus asks for DMA, so nothing is ever transferred; registers
 * read back as the chip's do (through the byte flip-flop, counts and addresses as they were set).
 *
 *   owner   vm    thread  vCPU threads under the chipset lock
 *   spec    Intel 8237A data sheet (231466); 82371AB data sheet (290562): 4.2.1
 */
#pragma once

#include "chipset/chipset.h"
#include "state/load.h"
#include "state/save.h"

struct dma;

/* Ports 0x00 to 0x0f, 0x80 to 0x8f, 0xc0 to 0xdf. 0, -ENOMEM or chipset_pio_add's. */
MUST_CHECK int dma_create(struct chipset *chipset, struct dma **ret);
void dma_destroy(struct dma *dma);

/* Any thread, while the vCPUs are out. */
void dma_reset(struct dma *dma);
void dma_save(struct dma *dma, struct save *save);
MUST_CHECK int dma_load(struct dma *dma, struct load *load);
