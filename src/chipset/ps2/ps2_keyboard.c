/* SPDX-License-Identifier: MIT */
#include "chipset/ps2/ps2_internal.h"

/* Commands to the keyboard. */
enum {
	KEYBOARD_SET_LEDS = 0xed,
	KEYBOARD_ECHO = 0xee,
	KEYBOARD_SCAN_SET = 0xf0,
	KEYBOARD_READ_ID = 0xf2,
	KEYBOARD_SET_RATE = 0xf3,
	KEYBOARD_ENABLE = 0xf4,
	KEYBOARD_DEFAULT_DISABLE = 0xf5,
	KEYBOARD_DEFAULT = 0xf6,
	KEYBOARD_ALL_MAKE_BREAK = 0xf8, /* 0xf7 to 0xfa are of set 3, and change nothing here */
	KEYBOARD_RESEND = 0xfe,
	KEYBOARD_RESET = 0xff,
};

#define KEYBOARD_ID_1 0xabU
#define KEYBOARD_ID_2 0x83U
#define DEFAULT_RATE  0x2bU
#define SET_1_RELEASE 0x80U
#define SET_2_RELEASE 0xf0U
#define CODE_EXTENDED 0xe0U
#define KEY_F7        0x41U
#define KEY_SYSRQ     0x54U
#define KEY_BYTES_MAX 8U

/* A key's code of set 2, by that of set 1: two arrangements of the same keyboard. */
static const uint8_t set_2[128] = {
	0x00, 0x76, 0x16, 0x1e, 0x26, 0x25, 0x2e, 0x36, 0x3d, 0x3e, 0x46, 0x45, 0x4e, 0x55, 0x66,
	0x0d, 0x15, 0x1d, 0x24, 0x2d, 0x2c, 0x35, 0x3c, 0x43, 0x44, 0x4d, 0x54, 0x5b, 0x5a, 0x14,
	0x1c, 0x1b, 0x23, 0x2b, 0x34, 0x33, 0x3b, 0x42, 0x4b, 0x4c, 0x52, 0x0e, 0x12, 0x5d, 0x1a,
	0x22, 0x21, 0x2a, 0x32, 0x31, 0x3a, 0x41, 0x49, 0x4a, 0x59, 0x7c, 0x11, 0x29, 0x58, 0x05,
	0x06, 0x04, 0x0c, 0x03, 0x0b, 0x02, 0x0a, 0x01, 0x09, 0x77, 0x7e, 0x6c, 0x75, 0x7d, 0x7b,
	0x6b, 0x73, 0x74, 0x79, 0x69, 0x72, 0x7a, 0x70, 0x71, 0x7f, 0x60, 0x61, 0x78, 0x07, 0x0f,
	0x17, 0x1f, 0x27, 0x2f, 0x37, 0x3f, 0x47, 0x4f, 0x56, 0x5e, 0x08, 0x10, 0x18, 0x20, 0x28,
	0x30, 0x38, 0x40, 0x48, 0x50, 0x57, 0x6f, 0x13, 0x19, 0x39, 0x51, 0x53, 0x5c, 0x5f, 0x62,
	0x63, 0x64, 0x65, 0x67, 0x68, 0x6a, 0x6d, 0x6e,
};

static uint8_t set_2_code(uint8_t code)
{
	/* The table has what the controller makes these two of; the keys send others. */
	return code == KEY_F7 ? 0x83 : code == KEY_SYSRQ ? 0x84 : set_2[code];
}

uint8_t ps2_translate(uint8_t code)
{
	if (code == 0x83) {
		return KEY_F7;
	}
	if (code == 0x84) {
		return KEY_SYSRQ;
	}
	for (uint8_t i = 0; i < sizeof(set_2) && code < 0x80; i++) {
		if (set_2[i] == code) {
			return i;
		}
	}
	return code;
}

/* ---- keys ---- */

struct sequence {
	uint8_t bytes[KEY_BYTES_MAX];
	uint32_t count;
};

static void add(struct sequence *sequence, uint8_t byte)
{
	check(sequence->count < KEY_BYTES_MAX);
	sequence->bytes[sequence->count++] = byte;
}

static void add_code(struct sequence *sequence, const struct ps2_keyboard *keyboard, uint8_t code,
		     bool is_down)
{
	if (keyboard->set == 1) {
		add(sequence, is_down ? code : code | SET_1_RELEASE);
		return;
	}
	if (!is_down) {
		add(sequence, SET_2_RELEASE);
	}
	add(sequence, set_2_code(code));
}

static void add_extended(struct sequence *sequence, const struct ps2_keyboard *keyboard,
			 uint8_t code, bool is_down)
{
	add(sequence, CODE_EXTENDED);
	add_code(sequence, keyboard, code, is_down);
}

/* Pause is sent at once with its release: as Ctrl (0x1d) and Num Lock (0x45) behind 0xe1. */
static void add_pause(struct sequence *sequence, const struct ps2_keyboard *keyboard)
{
	for (unsigned int release = 0; release < 2; release++) {
		add(sequence, 0xe1);
		add_code(sequence, keyboard, 0x1d, !release);
		add_code(sequence, keyboard, 0x45, !release);
	}
}

bool ps2_keyboard_key(struct ps2_keyboard *keyboard, uint16_t key, bool is_down)
{
	struct sequence sequence = { .count = 0 };
	uint8_t code = key & 0x7f;

	if (code == 0 || key > (PS2_KEY_EXTENDED | 0x7fU) || (key & 0x80)) {
		return false;
	}
	if (!keyboard->is_scanning) {
		return true; /* as if nobody had touched it */
	}
	if (key == PS2_KEY_PAUSE) {
		if (is_down) {
			add_pause(&sequence, keyboard);
		}
	} else if (key == PS2_KEY_PRINT) { /* with a shift of its own around it */
		add_extended(&sequence, keyboard, is_down ? 0x2a : 0x37, is_down);
		add_extended(&sequence, keyboard, is_down ? 0x37 : 0x2a, is_down);
	} else if (key & PS2_KEY_EXTENDED) {
		add_extended(&sequence, keyboard, code, is_down);
	} else {
		add_code(&sequence, keyboard, code, is_down);
	}
	/* A release finds room where a press does not: no key is left stuck. */
	if (!ps2_queue_has_room(&keyboard->queue,
				sequence.count + (is_down ? PS2_QUEUE_BYTES / 2 : 0))) {
		keyboard->lost++;
		return false;
	}
	for (uint32_t i = 0; i < sequence.count; i++) {
		ps2_queue_put(&keyboard->queue, sequence.bytes[i]);
	}
	keyboard->keys++;
	return true;
}

/* ---- commands ---- */

static void set_defaults(struct ps2_keyboard *keyboard)
{
	keyboard->set = 2;
	keyboard->rate = DEFAULT_RATE;
	keyboard->command = 0;
	ps2_queue_clear(&keyboard->queue);
}

void ps2_keyboard_power_on(struct ps2_keyboard *keyboard)
{
	set_defaults(keyboard);
	keyboard->leds = 0;
	keyboard->last = 0;
	keyboard->is_scanning = true;
}

static void write_parameter(struct ps2_keyboard *keyboard, uint8_t byte)
{
	uint8_t command = keyboard->command;

	keyboard->command = 0;
	if (command == KEYBOARD_SCAN_SET && byte > 2) {
		ps2_queue_put(&keyboard->queue, PS2_RESEND);
		return;
	}
	ps2_queue_put(&keyboard->queue, PS2_ACK);
	if (command == KEYBOARD_SET_LEDS) {
		keyboard->leds = byte & 7;
	} else if (command == KEYBOARD_SET_RATE) {
		keyboard->rate = byte & 0x7f;
	} else if (byte == 0) {
		ps2_queue_put(&keyboard->queue, keyboard->set);
	} else {
		keyboard->set = byte;
	}
}

static void write_command(struct ps2_keyboard *keyboard, uint8_t byte)
{
	struct ps2_queue *queue = &keyboard->queue;

	switch (byte) {
	case KEYBOARD_SET_LEDS:
	case KEYBOARD_SCAN_SET:
	case KEYBOARD_SET_RATE:
		keyboard->command = byte;
		ps2_queue_put(queue, PS2_ACK);
		break;
	case KEYBOARD_ECHO:
		ps2_queue_put(queue, KEYBOARD_ECHO);
		break;
	case KEYBOARD_READ_ID:
		ps2_queue_put(queue, PS2_ACK);
		ps2_queue_put(queue, KEYBOARD_ID_1);
		ps2_queue_put(queue, KEYBOARD_ID_2);
		break;
	case KEYBOARD_ENABLE:
		ps2_queue_clear(queue);
		keyboard->is_scanning = true;
		ps2_queue_put(queue, PS2_ACK);
		break;
	case KEYBOARD_DEFAULT_DISABLE:
	case KEYBOARD_DEFAULT:
		set_defaults(keyboard);
		keyboard->is_scanning = byte == KEYBOARD_DEFAULT;
		ps2_queue_put(queue, PS2_ACK);
		break;
	case KEYBOARD_RESEND:
		ps2_queue_put(queue, keyboard->last);
		break;
	case KEYBOARD_RESET:
		ps2_keyboard_power_on(keyboard);
		ps2_queue_put(queue, PS2_ACK);
		ps2_queue_put(queue, PS2_TEST_PASSED);
		break;
	default:
		ps2_queue_put(queue, byte >= KEYBOARD_ALL_MAKE_BREAK - 1 &&
						     byte <= KEYBOARD_ALL_MAKE_BREAK + 2
					     ? PS2_ACK
					     : PS2_RESEND);
		break;
	}
}

void ps2_keyboard_write(struct ps2_keyboard *keyboard, uint8_t byte)
{
	if (keyboard->command && byte < KEYBOARD_SET_LEDS) {
		write_parameter(keyboard, byte);
		return;
	}
	keyboard->command = 0; /* a command where a parameter was due: that one is forgotten */
	write_command(keyboard, byte);
}
