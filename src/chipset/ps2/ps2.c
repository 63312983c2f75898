/* SPDX-License-Identifier: MIT */
#include "chipset/ps2/ps2.h"

#include <errno.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "base/fault.h"
#include "base/num.h"
#include "chipset/ps2/ps2_internal.h"
#include "proto/board.h"

/* Status register. */
#define STATUS_OUTPUT_FULL 0x01U
#define STATUS_SYSTEM      0x04U
#define STATUS_COMMAND     0x08U
#define STATUS_NOT_LOCKED  0x10U
#define STATUS_MOUSE       0x20U

/* Command byte. */
#define MODE_KEYBOARD_IRQ  0x01U
#define MODE_MOUSE_IRQ     0x02U
#define MODE_SYSTEM        0x04U
#define MODE_KEYBOARD_OFF  0x10U
#define MODE_MOUSE_OFF     0x20U
#define MODE_TRANSLATE     0x40U
#define MODE_WRITABLE      0x77U

/* Commands to the controller. */
enum {
	COMMAND_READ_RAM = 0x20,  /* to 0x3f; byte 0 is the command byte */
	COMMAND_WRITE_RAM = 0x60, /* to 0x7f */
	COMMAND_MOUSE_OFF = 0xa7,
	COMMAND_MOUSE_ON = 0xa8,
	COMMAND_TEST_MOUSE = 0xa9,
	COMMAND_SELF_TEST = 0xaa,
	COMMAND_TEST_KEYBOARD = 0xab,
	COMMAND_KEYBOARD_OFF = 0xad,
	COMMAND_KEYBOARD_ON = 0xae,
	COMMAND_READ_INPUT = 0xc0,
	COMMAND_READ_OUTPUT = 0xd0,
	COMMAND_WRITE_OUTPUT = 0xd1,
	COMMAND_LOOP_KEYBOARD = 0xd2,
	COMMAND_LOOP_MOUSE = 0xd3,
	COMMAND_TO_MOUSE = 0xd4,
	COMMAND_PULSE = 0xf0, /* to 0xff: bits 0 to 3 that are 0 pulse; bit 0 is the reset */
};

#define RAM_BYTES        32U
#define SELF_TEST_PASSED 0x55U
#define LINES_PASSED     0x00U
#define PULSE_NOT_RESET  0x01U
#define INPUT_NOT_LOCKED 0x80U
#define OUTPUT_NOT_RESET 0x01U
#define OUTPUT_A20       0x02U
#define OUTPUT_KEYBOARD  0x10U
#define OUTPUT_MOUSE     0x20U
#define OUTPUT_WRITABLE  0xceU

enum source { FROM_CONTROLLER, FROM_KEYBOARD, FROM_MOUSE };

enum {
	PS2_STATE_CONTROLLER = 1,
	PS2_STATE_RAM = 2,
	PS2_STATE_ANSWERS = 3,
	PS2_STATE_KEYBOARD = 4,
	PS2_STATE_KEYBOARD_QUEUE = 5,
	PS2_STATE_MOUSE = 6,
	PS2_STATE_MOUSE_QUEUE = 7,
};

#define CONTROLLER_BYTES 7U
#define KEYBOARD_BYTES   6U
#define MOUSE_BYTES      24U

struct ps2 {
	struct chipset *chipset; /* borrowed */
	struct irq_line keyboard_irq, mouse_irq;
	struct chipset_power power;

	uint8_t ram[RAM_BYTES]; /* byte 0: the command byte */
	uint8_t command;        /* whose data byte is awaited, or 0 */
	bool was_command;       /* the last write was to port 0x64 */
	uint8_t output_port;
	struct ps2_queue answers;

	uint8_t output; /* the byte behind port 0x60 */
	bool is_full, is_mouses;
	bool is_released; /* 0xf0 was translated away: the next code is a release */
	bool keyboard_level, mouse_level;

	struct ps2_keyboard keyboard;
	struct ps2_pointer mouse;
	uint64_t resets;
};

/* ---- the output buffer ---- */

static void update_irqs(struct ps2 *ps2)
{
	uint8_t mode = ps2->ram[0];
	bool keyboard = ps2->is_full && !ps2->is_mouses && (mode & MODE_KEYBOARD_IRQ);
	bool mouse = ps2->is_full && ps2->is_mouses && (mode & MODE_MOUSE_IRQ);

	if (keyboard != ps2->keyboard_level) {
		ps2->keyboard_level = keyboard;
		irq_line_set(&ps2->keyboard_irq, keyboard);
	}
	if (mouse != ps2->mouse_level) {
		ps2->mouse_level = mouse;
		irq_line_set(&ps2->mouse_irq, mouse);
	}
}

static void put_output(struct ps2 *ps2, uint8_t byte, bool is_mouses)
{
	ps2->output = byte;
	ps2->is_full = true;
	ps2->is_mouses = is_mouses;
}

/* The keyboard's next byte; in translation 0xf0 gives none of its own. */
static void take_keyboard(struct ps2 *ps2)
{
	uint8_t byte = ps2_queue_take(&ps2->keyboard.queue);

	ps2->keyboard.last = byte;
	if (ps2->ram[0] & MODE_TRANSLATE) {
		if (byte == 0xf0) {
			ps2->is_released = true;
			return;
		}
		byte = ps2_translate(byte) | (ps2->is_released ? 0x80 : 0);
	}
	ps2->is_released = false;
	put_output(ps2, byte, false);
}

static void take_mouse(struct ps2 *ps2)
{
	uint8_t byte = ps2_queue_take(&ps2->mouse.queue);

	ps2->mouse.last = byte;
	put_output(ps2, byte, true);
	ps2_pointer_report(&ps2->mouse);
}

/* Fills the empty buffer: the controller's own answers first, then keyboard, then mouse. */
static void refill(struct ps2 *ps2)
{
	while (!ps2->is_full) {
		if (ps2->answers.count) {
			put_output(ps2, ps2_queue_take(&ps2->answers), false);
		} else if (ps2->keyboard.queue.count && !(ps2->ram[0] & MODE_KEYBOARD_OFF)) {
			take_keyboard(ps2);
		} else if (ps2->mouse.queue.count && !(ps2->ram[0] & MODE_MOUSE_OFF)) {
			take_mouse(ps2);
		} else {
			break;
		}
	}
	update_irqs(ps2);
}

static uint64_t data_read(void *ctx, uint64_t offset, unsigned int bytes)
{
	struct ps2 *ps2 = ctx;
	uint8_t byte = ps2->output;

	if (ps2->is_full) {
		ps2->is_full = false;
		update_irqs(ps2); /* an edge for each byte */
		refill(ps2);
	}
	return byte;
}

static uint64_t status_read(void *ctx, uint64_t offset, unsigned int bytes)
{
	const struct ps2 *ps2 = ctx;

	return (uint64_t)STATUS_NOT_LOCKED | (ps2->is_full ? STATUS_OUTPUT_FULL : 0U) |
	       (ps2->is_full && ps2->is_mouses ? STATUS_MOUSE : 0U) |
	       (ps2->was_command ? STATUS_COMMAND : 0U) |
	       (ps2->ram[0] & MODE_SYSTEM ? STATUS_SYSTEM : 0U);
}

/* ---- commands ---- */

static void pull_reset(struct ps2 *ps2)
{
	ps2->resets++;
	ps2->power.ops->on_reset(ps2->power.ctx);
}

static void write_output_port(struct ps2 *ps2, uint8_t value)
{
	if (!(value & OUTPUT_NOT_RESET)) {
		pull_reset(ps2);
	}
	ps2->output_port = value & OUTPUT_WRITABLE;
}

static uint8_t read_output_port(const struct ps2 *ps2)
{
	return (uint8_t)(ps2->output_port | OUTPUT_NOT_RESET |
			 (ps2->keyboard_level ? OUTPUT_KEYBOARD : 0) |
			 (ps2->mouse_level ? OUTPUT_MOUSE : 0));
}

static void set_mode(struct ps2 *ps2, uint8_t set, uint8_t clear)
{
	ps2->ram[0] = (uint8_t)((ps2->ram[0] | set) & ~clear & MODE_WRITABLE);
}

static void data_write(void *ctx, uint64_t offset, uint64_t value, unsigned int bytes)
{
	struct ps2 *ps2 = ctx;
	uint8_t command = ps2->command, byte = (uint8_t)value;

	ps2->command = 0;
	ps2->was_command = false;
	if (command >= COMMAND_WRITE_RAM && command < COMMAND_WRITE_RAM + RAM_BYTES) {
		ps2->ram[command - COMMAND_WRITE_RAM] = byte;
		set_mode(ps2, 0, 0);
	} else if (command == COMMAND_WRITE_OUTPUT) {
		write_output_port(ps2, byte);
	} else if (command == COMMAND_LOOP_KEYBOARD || command == COMMAND_LOOP_MOUSE) {
		put_output(ps2, byte, command == COMMAND_LOOP_MOUSE);
	} else if (command == COMMAND_TO_MOUSE) {
		set_mode(ps2, 0, MODE_MOUSE_OFF); /* sending opens the line */
		ps2_pointer_write(&ps2->mouse, byte);
	} else {
		set_mode(ps2, 0, MODE_KEYBOARD_OFF);
		ps2_keyboard_write(&ps2->keyboard, byte);
	}
	refill(ps2);
}

/* Commands without an answer and without a parameter. */
static void obey(struct ps2 *ps2, uint8_t command)
{
	switch (command) {
	case COMMAND_MOUSE_OFF:
		set_mode(ps2, MODE_MOUSE_OFF, 0);
		break;
	case COMMAND_MOUSE_ON:
		set_mode(ps2, 0, MODE_MOUSE_OFF);
		break;
	case COMMAND_KEYBOARD_OFF:
		set_mode(ps2, MODE_KEYBOARD_OFF, 0);
		break;
	case COMMAND_KEYBOARD_ON:
		set_mode(ps2, 0, MODE_KEYBOARD_OFF);
		break;
	default:
		if (command >= COMMAND_PULSE && !(command & PULSE_NOT_RESET)) {
			pull_reset(ps2);
		}
		break;
	}
}

/* Those with an answer. False: it is none of them. */
static bool answer(struct ps2 *ps2, uint8_t command, uint8_t *ret)
{
	switch (command) {
	case COMMAND_SELF_TEST:
		set_mode(ps2, MODE_SYSTEM | MODE_KEYBOARD_OFF | MODE_MOUSE_OFF,
			 MODE_KEYBOARD_IRQ | MODE_MOUSE_IRQ);
		*ret = SELF_TEST_PASSED;
		return true;
	case COMMAND_TEST_MOUSE:
	case COMMAND_TEST_KEYBOARD:
		*ret = LINES_PASSED;
		return true;
	case COMMAND_READ_INPUT:
		*ret = INPUT_NOT_LOCKED;
		return true;
	case COMMAND_READ_OUTPUT:
		*ret = read_output_port(ps2);
		return true;
	default:
		*ret = ps2->ram[command % RAM_BYTES];
		return command >= COMMAND_READ_RAM && command < COMMAND_READ_RAM + RAM_BYTES;
	}
}

static bool takes_parameter(uint8_t command)
{
	return (command >= COMMAND_WRITE_RAM && command < COMMAND_WRITE_RAM + RAM_BYTES) ||
	       (command >= COMMAND_WRITE_OUTPUT && command <= COMMAND_TO_MOUSE);
}

static void command_write(void *ctx, uint64_t offset, uint64_t value, unsigned int bytes)
{
	struct ps2 *ps2 = ctx;
	uint8_t command = (uint8_t)value, reply;

	ps2->was_command = true;
	ps2->command = takes_parameter(command) ? command : 0;
	if (!ps2->command) {
		if (answer(ps2, command, &reply)) {
			/* Of answers that nobody fetched the last counts. */
			ps2_queue_clear(&ps2->answers);
			ps2_queue_put(&ps2->answers, reply);
		} else {
			obey(ps2, command);
		}
	}
	refill(ps2);
}

static const struct io_region_ops data_ops = { data_read, data_write };
static const struct io_region_ops command_ops = { status_read, command_write };

/* ---- input ---- */

bool ps2_key(struct ps2 *ps2, uint16_t key, bool is_down)
{
	bool is_taken;

	chipset_lock(ps2->chipset);
	is_taken = ps2_keyboard_key(&ps2->keyboard, key, is_down);
	refill(ps2);
	chipset_unlock(ps2->chipset);
	return is_taken;
}

void ps2_mouse(struct ps2 *ps2, int32_t dx, int32_t dy, int32_t dz, uint8_t buttons)
{
	chipset_lock(ps2->chipset);
	ps2_pointer_move(&ps2->mouse, dx, dy, dz, buttons);
	refill(ps2);
	chipset_unlock(ps2->chipset);
}

/* ---- life ---- */

static void power_on(struct ps2 *ps2)
{
	for (unsigned int i = 0; i < RAM_BYTES; i++) {
		ps2->ram[i] = 0;
	}
	set_mode(ps2, MODE_KEYBOARD_OFF | MODE_MOUSE_OFF, 0);
	ps2->command = 0;
	ps2->was_command = false;
	ps2->output_port = OUTPUT_A20;
	ps2_queue_clear(&ps2->answers);
	ps2->output = 0;
	ps2->is_full = ps2->is_mouses = ps2->is_released = false;
	ps2_keyboard_power_on(&ps2->keyboard);
	ps2_pointer_power_on(&ps2->mouse);
	update_irqs(ps2);
}

int ps2_create(const struct ps2_config *config, struct ps2 **ret)
{
	struct ps2 *ps2 = fault_alloc(1, sizeof(*ps2));
	int err = 0;

	if (!ps2) {
		return -ENOMEM;
	}
	ps2->chipset = config->chipset;
	ps2->keyboard_irq = config->keyboard;
	ps2->mouse_irq = config->mouse;
	ps2->power = *config->power;
	power_on(ps2);

	const struct io_region regions[] = {
		{ &data_ops, ps2, BOARD_I8042_DATA_PORT, 1, "ps2 data" },
		{ &command_ops, ps2, BOARD_I8042_COMMAND_PORT, 1, "ps2 command" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(regions) && !err; i++) {
		err = chipset_pio_add(config->chipset, &regions[i]);
	}
	if (err) {
		ps2_destroy(ps2);
		return err;
	}
	*ret = ps2;
	return 0;
}

void ps2_destroy(struct ps2 *ps2)
{
	if (ps2) {
		chipset_remove(ps2->chipset, ps2);
	}
	free(ps2);
}

void ps2_reset(struct ps2 *ps2)
{
	chipset_lock(ps2->chipset);
	power_on(ps2);
	chipset_unlock(ps2->chipset);
}

/* ---- saved state ---- */

static void save_queue(const struct ps2_queue *queue, struct save *save, uint16_t tag)
{
	uint8_t bytes[PS2_QUEUE_BYTES];

	for (uint32_t i = 0; i < queue->count; i++) {
		bytes[i] = queue->bytes[(queue->first + i) % PS2_QUEUE_BYTES];
	}
	save_bytes(save, tag, bytes, queue->count);
}

static void save_controller(const struct ps2 *ps2, struct save *save)
{
	const uint8_t bytes[CONTROLLER_BYTES] = {
		ps2->command, ps2->was_command, ps2->output_port, ps2->output,
		ps2->is_full, ps2->is_mouses,   ps2->is_released,
	};

	save_bytes(save, PS2_STATE_CONTROLLER, bytes, sizeof(bytes));
}

static void save_keyboard(const struct ps2_keyboard *keyboard, struct save *save)
{
	const uint8_t bytes[KEYBOARD_BYTES] = {
		keyboard->command, keyboard->set,  keyboard->leds,
		keyboard->rate,    keyboard->last, keyboard->is_scanning,
	};

	save_bytes(save, PS2_STATE_KEYBOARD, bytes, sizeof(bytes));
	save_queue(&keyboard->queue, save, PS2_STATE_KEYBOARD_QUEUE);
}

static void save_mouse(const struct ps2_pointer *mouse, struct save *save)
{
	uint8_t bytes[MOUSE_BYTES] = {
		mouse->command,      mouse->id,       mouse->rate,     mouse->resolution,
		mouse->rates[0],     mouse->rates[1], mouse->rates[2], mouse->buttons,
		mouse->sent_buttons, mouse->last,
	};

	bytes[10] = (uint8_t)(mouse->is_reporting | mouse->is_remote << 1 |
			      mouse->is_wrapping << 2 | mouse->is_doubling << 3);
	bytes_put_le32(bytes + 12, (uint32_t)mouse->dx);
	bytes_put_le32(bytes + 16, (uint32_t)mouse->dy);
	bytes_put_le32(bytes + 20, (uint32_t)mouse->dz);
	save_bytes(save, PS2_STATE_MOUSE, bytes, sizeof(bytes));
	save_queue(&mouse->queue, save, PS2_STATE_MOUSE_QUEUE);
}

void ps2_save(struct ps2 *ps2, struct save *save)
{
	chipset_lock(ps2->chipset);
	save_controller(ps2, save);
	save_bytes(save, PS2_STATE_RAM, ps2->ram, sizeof(ps2->ram));
	save_queue(&ps2->answers, save, PS2_STATE_ANSWERS);
	save_keyboard(&ps2->keyboard, save);
	save_mouse(&ps2->mouse, save);
	chipset_unlock(ps2->chipset);
}

static void load_queue(struct ps2_queue *queue, struct load *load, const struct load_field *field)
{
	ps2_queue_clear(queue);
	if (field->length > PS2_QUEUE_BYTES) {
		load_fail(load);
		return;
	}
	load_bytes(load, field, queue->bytes, field->length);
	queue->count = field->length;
}

static void load_controller(struct ps2 *ps2, struct load *load, const struct load_field *field)
{
	uint8_t bytes[CONTROLLER_BYTES];

	load_bytes(load, field, bytes, sizeof(bytes));
	ps2->command = takes_parameter(bytes[0]) ? bytes[0] : 0;
	ps2->was_command = bytes[1] & 1;
	ps2->output_port = bytes[2] & OUTPUT_WRITABLE;
	ps2->output = bytes[3];
	ps2->is_full = bytes[4] & 1;
	ps2->is_mouses = bytes[5] & 1;
	ps2->is_released = bytes[6] & 1;
}

static void load_keyboard(struct ps2_keyboard *keyboard, struct load *load,
			  const struct load_field *field)
{
	uint8_t bytes[KEYBOARD_BYTES];

	load_bytes(load, field, bytes, sizeof(bytes));
	keyboard->command = bytes[0];
	keyboard->set = bytes[1] == 1 ? 1 : 2;
	keyboard->leds = bytes[2] & 7;
	keyboard->rate = bytes[3] & 0x7f;
	keyboard->last = bytes[4];
	keyboard->is_scanning = bytes[5] & 1;
}

static void load_mouse(struct ps2_pointer *mouse, struct load *load, const struct load_field *field)
{
	uint8_t bytes[MOUSE_BYTES];

	load_bytes(load, field, bytes, sizeof(bytes));
	mouse->command = bytes[0];
	mouse->id = bytes[1] == 3 || bytes[1] == 4 ? bytes[1] : 0;
	mouse->rate = bytes[2];
	mouse->resolution = bytes[3] & 3;
	mouse->rates[0] = bytes[4];
	mouse->rates[1] = bytes[5];
	mouse->rates[2] = bytes[6];
	mouse->buttons = bytes[7] & 0x1f;
	mouse->sent_buttons = bytes[8] & 0x1f;
	mouse->last = bytes[9];
	mouse->is_reporting = bytes[10] & 1;
	mouse->is_remote = bytes[10] >> 1 & 1;
	mouse->is_wrapping = bytes[10] >> 2 & 1;
	mouse->is_doubling = bytes[10] >> 3 & 1;
	ps2_pointer_restore(mouse, (int32_t)bytes_le32(bytes + 12), (int32_t)bytes_le32(bytes + 16),
			    (int32_t)bytes_le32(bytes + 20));
}

static void load_one(struct ps2 *ps2, struct load *load, const struct load_field *field)
{
	switch (field->tag) {
	case PS2_STATE_CONTROLLER:
		load_controller(ps2, load, field);
		break;
	case PS2_STATE_RAM:
		load_bytes(load, field, ps2->ram, sizeof(ps2->ram));
		set_mode(ps2, 0, 0);
		break;
	case PS2_STATE_ANSWERS:
		load_queue(&ps2->answers, load, field);
		break;
	case PS2_STATE_KEYBOARD:
		load_keyboard(&ps2->keyboard, load, field);
		break;
	case PS2_STATE_KEYBOARD_QUEUE:
		load_queue(&ps2->keyboard.queue, load, field);
		break;
	case PS2_STATE_MOUSE:
		load_mouse(&ps2->mouse, load, field);
		break;
	case PS2_STATE_MOUSE_QUEUE:
		load_queue(&ps2->mouse.queue, load, field);
		break;
	default:
		break;
	}
}

int ps2_load(struct ps2 *ps2, struct load *load)
{
	struct load_field field;

	chipset_lock(ps2->chipset);
	power_on(ps2);
	while (load_next(load, &field)) {
		load_one(ps2, load, &field);
	}
	/* The lines as they are, whatever they were here before. */
	update_irqs(ps2);
	irq_line_set(&ps2->keyboard_irq, ps2->keyboard_level);
	irq_line_set(&ps2->mouse_irq, ps2->mouse_level);
	refill(ps2);
	chipset_unlock(ps2->chipset);
	return load_result(load);
}

void ps2_inspect(struct ps2 *ps2, struct inspect *at)
{
	chipset_lock(ps2->chipset);
	inspect_format(at, "command_byte", "0x%02x", ps2->ram[0]);
	inspect_u64(at, "keys", ps2->keyboard.keys);
	inspect_u64(at, "keys_lost", ps2->keyboard.lost);
	inspect_format(at, "leds", "0x%x", ps2->keyboard.leds);
	inspect_u64(at, "mouse_id", ps2->mouse.id);
	inspect_u64(at, "mouse_packets", ps2->mouse.packets);
	inspect_u64(at, "resets", ps2->resets);
	chipset_unlock(ps2->chipset);
}
