/* SPDX-License-Identifier: MIT */
/*
 * Descriptors and buffers in guest memory. The longword with the ownership bit is read before and written after
 * everything else of a descriptor, since the driver on the other side goes by it alone.
 */
#include <errno.h>
#include <stdatomic.h>
#include <string.h>

#include "chipset/tulip/tulip_internal.h"

static uint32_t swapped(const struct tulip *tulip, uint32_t word)
{
	return tulip->csr0 & TULIP_CSR0_DBO ? __builtin_bswap32(word) : word;
}

static _Atomic(uint32_t) *words_at(struct tulip *tulip, uint32_t gpa)
{
	_Atomic(uint32_t) *words = mem_hva(tulip->mem, gpa, TULIP_DESC_BYTES);

	if (!words) {
		tulip_bus_error(tulip);
	}
	return words;
}

int tulip_desc_read(struct tulip *tulip, uint32_t gpa, struct tulip_desc *ret)
{
	_Atomic(uint32_t) *words = words_at(tulip, gpa);

	if (!words) {
		return -EFAULT;
	}
	ret->gpa = gpa;
	/* Acquire: the driver sets OWN last. */
	ret->status = swapped(tulip, atomic_load_explicit(&words[0], memory_order_acquire));
	ret->control = swapped(tulip, atomic_load_explicit(&words[1], memory_order_relaxed));
	ret->buffer_1 = swapped(tulip, atomic_load_explicit(&words[2], memory_order_relaxed));
	ret->buffer_2 = swapped(tulip, atomic_load_explicit(&words[3], memory_order_relaxed));
	return 0;
}

int tulip_desc_close(struct tulip *tulip, uint32_t gpa, uint32_t status)
{
	_Atomic(uint32_t) *words = words_at(tulip, gpa);

	if (!words) {
		return -EFAULT;
	}
	/* Release: the driver reads the buffer after it has seen OWN cleared. */
	atomic_store_explicit(&words[0], swapped(tulip, status), memory_order_release);
	return 0;
}

uint32_t tulip_desc_next(const struct tulip *tulip, const struct tulip_desc *desc, uint32_t list)
{
	uint32_t skip = tulip->csr0 >> TULIP_CSR0_DSL_SHIFT & TULIP_CSR0_DSL_MASK;

	if (desc->control & TULIP_DESC_END_OF_RING) {
		return list;
	}
	if (desc->control & TULIP_DESC_CHAINED) {
		return desc->buffer_2 & ~3U;
	}
	return desc->gpa + TULIP_DESC_BYTES + 4 * skip;
}

uint32_t tulip_desc_buffer(const struct tulip_desc *desc, unsigned int number, uint32_t *ret_gpa)
{
	if (number == 0) {
		*ret_gpa = desc->buffer_1;
		return desc->control & TULIP_DESC_SIZE_MASK;
	}
	*ret_gpa = desc->buffer_2;
	/* At the ring's end the second address is a buffer's again (4.2.1.2, 4.2.2.2). */
	if (desc->control & TULIP_DESC_CHAINED && !(desc->control & TULIP_DESC_END_OF_RING)) {
		return 0;
	}
	return desc->control >> TULIP_DESC_SIZE_2_SHIFT & TULIP_DESC_SIZE_MASK;
}

/* Byte order of buffers (CSR0, BLE): in each longword on the bus the first byte is the highest. */
static int copy_big(struct tulip *tulip, uint32_t gpa, uint8_t *bytes, uint32_t count, bool is_read)
{
	uint32_t first = gpa & ~3U, end = (gpa + count + 3) & ~3U;
	uint8_t *hva = mem_hva(tulip->mem, first, end - first);

	if (!hva || end < first) {
		tulip_bus_error(tulip);
		return -EFAULT;
	}
	for (uint32_t i = 0; i < count; i++) {
		uint8_t *at = hva + ((gpa - first + i) ^ 3U);

		if (is_read) {
			bytes[i] = *(volatile uint8_t *)at;
		} else {
			*at = bytes[i];
		}
	}
	return 0;
}

int tulip_buffer_read(struct tulip *tulip, uint32_t gpa, void *ret, uint32_t bytes)
{
	if (tulip->csr0 & TULIP_CSR0_BLE) {
		return copy_big(tulip, gpa, ret, bytes, true);
	}
	if (mem_read(tulip->mem, gpa, ret, bytes)) {
		tulip_bus_error(tulip);
		return -EFAULT;
	}
	return 0;
}

int tulip_buffer_write(struct tulip *tulip, uint32_t gpa, const void *buf, uint32_t bytes)
{
	if (tulip->csr0 & TULIP_CSR0_BLE) {
		return copy_big(tulip, gpa, (uint8_t *)(uintptr_t)buf, bytes, false);
	}
	if (mem_write(tulip->mem, gpa, buf, bytes)) {
		tulip_bus_error(tulip);
		return -EFAULT;
	}
	return 0;
}
