/* SPDX-License-Identifier: MIT */
#include "chipset/ps2/ps2_internal.h"

/* Commands to the mouse. */
enum {
	MOUSE_SCALE_1 = 0xe6,
	MOUSE_SCALE_2 = 0xe7,
	MOUSE_RESOLUTION = 0xe8,
	MOUSE_STATUS = 0xe9,
	MOUSE_STREAM = 0xea,
	MOUSE_READ = 0xeb,
	MOUSE_UNWRAP = 0xec,
	MOUSE_WRAP = 0xee,
	MOUSE_REMOTE = 0xf0,
	MOUSE_READ_ID = 0xf2,
	MOUSE_RATE = 0xf3,
	MOUSE_ENABLE = 0xf4,
	MOUSE_DISABLE = 0xf5,
	MOUSE_DEFAULT = 0xf6,
	MOUSE_RESEND = 0xfe,
	MOUSE_RESET = 0xff,
};

#define DEFAULT_RATE       100U
#define DEFAULT_RESOLUTION 2U

#define ID_PLAIN           0U
#define ID_WHEEL           3U
#define ID_FIVE            4U

/* MOUSE_STATUS, first byte; and a packet's. */
#define STATUS_REMOTE      0x40U
#define STATUS_REPORTING   0x20U
#define STATUS_DOUBLING    0x10U
#define PACKET_ALWAYS      0x08U
#define PACKET_X_SIGN      0x10U
#define PACKET_Y_SIGN      0x20U
#define PACKET_BUTTONS     0x07U

/* Movement that nobody fetches is kept, within reason. */
#define MOVEMENT_MAX       4096

static int32_t clamp(int32_t value, int32_t max)
{
	return value > max ? max : value < -max ? -max : value;
}

static uint32_t packet_bytes(const struct ps2_pointer *pointer)
{
	return pointer->id == ID_PLAIN ? 3 : 4;
}

static void set_defaults(struct ps2_pointer *pointer)
{
	pointer->rate = DEFAULT_RATE;
	pointer->resolution = DEFAULT_RESOLUTION;
	pointer->is_reporting = pointer->is_remote = false;
	pointer->is_wrapping = pointer->is_doubling = false;
	pointer->dx = pointer->dy = pointer->dz = 0;
	pointer->command = 0;
	ps2_queue_clear(&pointer->queue);
}

void ps2_pointer_power_on(struct ps2_pointer *pointer)
{
	set_defaults(pointer);
	pointer->id = ID_PLAIN;
	pointer->rates[0] = pointer->rates[1] = pointer->rates[2] = 0;
	pointer->sent_buttons = 0;
	pointer->last = 0;
}

/* ---- movement ---- */

static void put_packet(struct ps2_pointer *pointer)
{
	int32_t dx = clamp(pointer->dx, 255), dy = clamp(pointer->dy, 255);
	int32_t dz = clamp(pointer->dz, 7);
	struct ps2_queue *queue = &pointer->queue;

	ps2_queue_put(queue,
		      (uint8_t)(PACKET_ALWAYS | (pointer->buttons & PACKET_BUTTONS) |
				(dx < 0 ? PACKET_X_SIGN : 0) | (dy < 0 ? PACKET_Y_SIGN : 0)));
	ps2_queue_put(queue, (uint8_t)dx);
	ps2_queue_put(queue, (uint8_t)dy);
	if (pointer->id == ID_WHEEL) {
		ps2_queue_put(queue, (uint8_t)dz);
	} else if (pointer->id == ID_FIVE) {
		ps2_queue_put(queue, (uint8_t)((dz & 0x0f) | (pointer->buttons & 0x18) << 1));
	}
	pointer->dx -= dx;
	pointer->dy -= dy;
	pointer->dz = pointer->id == ID_PLAIN ? 0 : pointer->dz - dz;
	pointer->sent_buttons = pointer->buttons;
	pointer->packets++;
}

static bool has_news(const struct ps2_pointer *pointer)
{
	uint8_t shown = pointer->id == ID_FIVE ? 0x1f : PACKET_BUTTONS;

	return pointer->dx || pointer->dy || (pointer->dz && pointer->id != ID_PLAIN) ||
	       ((pointer->buttons ^ pointer->sent_buttons) & shown);
}

void ps2_pointer_report(struct ps2_pointer *pointer)
{
	while (pointer->is_reporting && !pointer->is_remote && !pointer->is_wrapping &&
	       !pointer->command && has_news(pointer) &&
	       ps2_queue_has_room(&pointer->queue, PS2_QUEUE_BYTES / 2 + packet_bytes(pointer))) {
		put_packet(pointer);
	}
}

void ps2_pointer_move(struct ps2_pointer *pointer, int32_t dx, int32_t dy, int32_t dz,
		      uint8_t buttons)
{
	pointer->buttons = buttons & 0x1f;
	if (pointer->is_reporting) {
		pointer->dx = clamp(pointer->dx + clamp(dx, MOVEMENT_MAX), MOVEMENT_MAX);
		pointer->dy = clamp(pointer->dy - clamp(dy, MOVEMENT_MAX), MOVEMENT_MAX);
		pointer->dz = clamp(pointer->dz + clamp(dz, MOVEMENT_MAX), MOVEMENT_MAX);
	}
	ps2_pointer_report(pointer);
}

void ps2_pointer_restore(struct ps2_pointer *pointer, int32_t dx, int32_t dy, int32_t dz)
{
	pointer->dx = clamp(dx, MOVEMENT_MAX);
	pointer->dy = clamp(dy, MOVEMENT_MAX);
	pointer->dz = clamp(dz, MOVEMENT_MAX);
}

/* ---- commands ---- */

static void knock(struct ps2_pointer *pointer, uint8_t rate)
{
	uint8_t *rates = pointer->rates;

	rates[0] = rates[1];
	rates[1] = rates[2];
	rates[2] = rate;
	if (rates[0] == 200 && rates[1] == 100 && rates[2] == 80 && pointer->id == ID_PLAIN) {
		pointer->id = ID_WHEEL;
	} else if (rates[0] == 200 && rates[1] == 200 && rates[2] == 80 &&
		   pointer->id == ID_WHEEL) {
		pointer->id = ID_FIVE;
	}
}

static void write_parameter(struct ps2_pointer *pointer, uint8_t byte)
{
	uint8_t command = pointer->command;

	pointer->command = 0;
	if (command == MOUSE_RESOLUTION) {
		pointer->resolution = byte & 3;
	} else {
		pointer->rate = byte;
		knock(pointer, byte);
	}
	ps2_queue_put(&pointer->queue, PS2_ACK);
}

/* Left is the highest of three bits here, and the lowest in a packet. */
static uint8_t status_buttons(uint8_t buttons)
{
	return (uint8_t)((buttons & PS2_BUTTON_LEFT ? 4 : 0) |
			 (buttons & PS2_BUTTON_MIDDLE ? 2 : 0) |
			 (buttons & PS2_BUTTON_RIGHT ? 1 : 0));
}

static void put_status(struct ps2_pointer *pointer)
{
	struct ps2_queue *queue = &pointer->queue;

	ps2_queue_put(queue, (uint8_t)((pointer->is_remote ? STATUS_REMOTE : 0) |
				       (pointer->is_reporting ? STATUS_REPORTING : 0) |
				       (pointer->is_doubling ? STATUS_DOUBLING : 0) |
				       status_buttons(pointer->buttons)));
	ps2_queue_put(queue, pointer->resolution);
	ps2_queue_put(queue, pointer->rate);
}

/* Those that have an answer besides the acknowledgement. False: it is none of them. */
static bool write_question(struct ps2_pointer *pointer, uint8_t byte)
{
	switch (byte) {
	case MOUSE_STATUS:
		put_status(pointer);
		return true;
	case MOUSE_READ:
		put_packet(pointer);
		return true;
	case MOUSE_READ_ID:
		ps2_queue_put(&pointer->queue, pointer->id);
		return true;
	case MOUSE_RESET:
		ps2_pointer_power_on(pointer); /* and clears the queue */
		ps2_queue_put(&pointer->queue, PS2_ACK);
		ps2_queue_put(&pointer->queue, PS2_TEST_PASSED);
		ps2_queue_put(&pointer->queue, pointer->id);
		return true;
	default:
		return false;
	}
}

static bool write_order(struct ps2_pointer *pointer, uint8_t byte)
{
	switch (byte) {
	case MOUSE_SCALE_1:
	case MOUSE_SCALE_2:
		pointer->is_doubling = byte == MOUSE_SCALE_2;
		return true;
	case MOUSE_RESOLUTION:
	case MOUSE_RATE:
		pointer->command = byte;
		return true;
	case MOUSE_STREAM:
	case MOUSE_REMOTE:
		pointer->is_remote = byte == MOUSE_REMOTE;
		return true;
	case MOUSE_WRAP:
	case MOUSE_UNWRAP:
		pointer->is_wrapping = byte == MOUSE_WRAP;
		return true;
	case MOUSE_ENABLE:
	case MOUSE_DISABLE:
		pointer->is_reporting = byte == MOUSE_ENABLE;
		pointer->dx = pointer->dy = pointer->dz = 0;
		return true;
	case MOUSE_DEFAULT:
		set_defaults(pointer);
		return true;
	default:
		return false;
	}
}

void ps2_pointer_write(struct ps2_pointer *pointer, uint8_t byte)
{
	struct ps2_queue *queue = &pointer->queue;

	if (pointer->is_wrapping && byte != MOUSE_UNWRAP && byte != MOUSE_RESET) {
		ps2_queue_put(queue, byte);
		return;
	}
	if (byte == MOUSE_RESEND) {
		ps2_queue_put(queue, pointer->last);
		return;
	}
	/* A command stops what was to be sent: its answer is the next that comes. */
	ps2_queue_clear(queue);
	if (pointer->command && byte < MOUSE_SCALE_1) {
		write_parameter(pointer, byte);
		return;
	}
	pointer->command = 0;
	if (write_order(pointer, byte)) {
		ps2_queue_put(queue, PS2_ACK);
		return;
	}
	ps2_queue_put(queue, PS2_ACK);
	if (!write_question(pointer, byte)) {
		ps2_queue_clear(queue);
		ps2_queue_put(queue, PS2_RESEND);
	}
}
