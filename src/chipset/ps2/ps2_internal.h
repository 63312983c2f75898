/* SPDX-License-Identifier: MIT */
/* The controller (ps2.c) and its two devices: each a small state machine with a queue of bytes to send. */
#pragma once

#include "chipset/ps2/ps2.h"

#define PS2_QUEUE_BYTES 64U /* a power of two */

#define PS2_ACK         0xfaU
#define PS2_RESEND      0xfeU /* not understood */
#define PS2_TEST_PASSED 0xaaU

struct ps2_queue {
	uint8_t bytes[PS2_QUEUE_BYTES];
	uint32_t first, count; /* first < PS2_QUEUE_BYTES, count <= PS2_QUEUE_BYTES */
};

static inline void ps2_queue_clear(struct ps2_queue *queue)
{
	queue->first = queue->count = 0;
}

static inline bool ps2_queue_has_room(const struct ps2_queue *queue, uint32_t bytes)
{
	return PS2_QUEUE_BYTES - queue->count >= bytes;
}

static inline void ps2_queue_put(struct ps2_queue *queue, uint8_t byte)
{
	if (queue->count < PS2_QUEUE_BYTES) {
		queue->bytes[(queue->first + queue->count) % PS2_QUEUE_BYTES] = byte;
		queue->count++;
	}
}

static inline uint8_t ps2_queue_take(struct ps2_queue *queue)
{
	uint8_t byte = queue->bytes[queue->first];

	check(queue->count > 0);
	queue->first = (queue->first + 1) % PS2_QUEUE_BYTES;
	queue->count--;
	return byte;
}

struct ps2_keyboard {
	struct ps2_queue queue;
	uint8_t command; /* whose parameter is awaited, or 0 */
	uint8_t set;     /* of scan codes: 1 or 2 */
	uint8_t leds, rate;
	uint8_t last; /* sent, for 0xfe */
	bool is_scanning;
	uint64_t keys, lost;
};

struct ps2_pointer {
	struct ps2_queue queue;
	uint8_t command; /* whose parameter is awaited, or 0 */
	uint8_t id;      /* 0, 3 (wheel) or 4 (wheel, five buttons) */
	uint8_t rate, resolution;
	uint8_t rates[3]; /* the last ones set, newest last: knocks */
	uint8_t buttons, sent_buttons;
	uint8_t last;
	bool is_reporting, is_remote, is_wrapping, is_doubling;
	int32_t dx, dy, dz; /* not sent yet; y upwards */
	uint64_t packets;
};

/* ---- ps2_keyboard.c ---- */

void ps2_keyboard_power_on(struct ps2_keyboard *keyboard);
void ps2_keyboard_write(struct ps2_keyboard *keyboard, uint8_t byte);
bool ps2_keyboard_key(struct ps2_keyboard *keyboard, uint16_t key, bool is_down);

/* A code of set 2 as the controller translates it. */
uint8_t ps2_translate(uint8_t code);

/* ---- ps2_mouse.c ---- */

void ps2_pointer_power_on(struct ps2_pointer *pointer);
void ps2_pointer_write(struct ps2_pointer *pointer, uint8_t byte);
void ps2_pointer_move(struct ps2_pointer *pointer, int32_t dx, int32_t dy, int32_t dz,
		      uint8_t buttons);
/* There is room in the queue again: what has moved meanwhile. */
void ps2_pointer_report(struct ps2_pointer *pointer);
/* From a saved state: movement not sent yet, within bounds. */
void ps2_pointer_restore(struct ps2_pointer *pointer, int32_t dx, int32_t dy, int32_t dz);
