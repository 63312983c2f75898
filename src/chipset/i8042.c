/* SPDX-License-Identifier: MIT */
#include "chipset/i8042.h"

#include <errno.h>
#include <stdlib.h>

#include "base/fault.h"
#include "base/num.h"
#include "proto/board.h"

/* Status register: output buffer full; system flag (self test passed); last byte was a command. */
#define STATUS_OUTPUT_FULL    0x01U
#define STATUS_SYSTEM         0x04U
#define STATUS_COMMAND        0x08U

#define COMMAND_SELF_TEST     0xaaU
#define COMMAND_TEST_KEYBOARD 0xabU
#define COMMAND_READ_MODE     0x20U
#define COMMAND_WRITE_OUTPUT  0xd1U
#define COMMAND_PULSE         0xf0U /* to 0xff: bits 0 to 3 that are 0 pulse; bit 0 is the reset */
#define PULSE_NOT_RESET       0x01U

#define SELF_TEST_PASSED      0x55U
#define OUTPUT_NOT_RESET      0x01U

#define RESET_CONTROL_CPU     0x04U

#define CONFIG_ADDRESS_MASK   0x80fffffcU

/* Port B: the low bits keep what is written; 4 shows memory refresh; 6 and 7 errors: none. */
#define PORT_B_WRITABLE       0x0fU
#define PORT_B_REFRESH        0x10U

enum {
	I8042_STATE_OUTPUT = 1,
	I8042_STATE_STATUS = 2,
	I8042_STATE_COMMAND = 3,
	I8042_STATE_CONFIG_ADDRESS = 4,
	I8042_STATE_RESET_CONTROL = 5,
	I8042_STATE_PORT_B = 6,
};

struct i8042 {
	struct chipset *chipset; /* borrowed */
	struct chipset_power power;
	uint8_t output; /* the byte behind port 0x60 */
	uint8_t status;
	uint8_t command; /* the command whose data byte is awaited, or 0 */
	uint32_t config_address;
	uint8_t reset_control;
	uint8_t port_b;
	uint64_t resets;
};

static void i8042_pull_reset(struct i8042 *i8042)
{
	i8042->resets++;
	i8042->power.ops->on_reset(i8042->power.ctx);
}

static void i8042_answer(struct i8042 *i8042, uint8_t byte)
{
	i8042->output = byte;
	i8042->status |= STATUS_OUTPUT_FULL;
}

static uint64_t i8042_data_read(void *ctx, uint64_t offset, unsigned int bytes)
{
	struct i8042 *i8042 = ctx;

	i8042->status &= (uint8_t)~STATUS_OUTPUT_FULL;
	return i8042->output;
}

static void i8042_data_write(void *ctx, uint64_t offset, uint64_t value, unsigned int bytes)
{
	struct i8042 *i8042 = ctx;

	if (i8042->command == COMMAND_WRITE_OUTPUT && !(value & OUTPUT_NOT_RESET)) {
		i8042_pull_reset(i8042);
	}
	i8042->command = 0;
	i8042->status &= (uint8_t)~STATUS_COMMAND;
}

static uint64_t i8042_status_read(void *ctx, uint64_t offset, unsigned int bytes)
{
	const struct i8042 *i8042 = ctx;

	return i8042->status;
}

static void i8042_command_write(void *ctx, uint64_t offset, uint64_t value, unsigned int bytes)
{
	struct i8042 *i8042 = ctx;
	uint8_t command = (uint8_t)value;

	i8042->status |= STATUS_COMMAND;
	i8042->command = 0;
	if (command >= COMMAND_PULSE) {
		if (!(command & PULSE_NOT_RESET)) {
			i8042_pull_reset(i8042);
		}
	} else if (command == COMMAND_WRITE_OUTPUT) {
		i8042->command = command;
	} else if (command == COMMAND_SELF_TEST) {
		i8042_answer(i8042, SELF_TEST_PASSED);
	} else if (command == COMMAND_TEST_KEYBOARD) {
		i8042_answer(i8042, 1); /* clock line stuck: no keyboard */
	} else if (command == COMMAND_READ_MODE) {
		i8042_answer(i8042, 0);
	}
}

static uint64_t config_read(void *ctx, uint64_t offset, unsigned int bytes)
{
	const struct i8042 *i8042 = ctx;

	if (offset == 0 && bytes == 4) {
		return i8042->config_address;
	}
	if (offset == BOARD_RESET_PORT - BOARD_PCI_CONFIG_PORT && bytes == 1) {
		return i8042->reset_control;
	}
	return ~0ULL; /* an empty bus */
}

static void config_write(void *ctx, uint64_t offset, uint64_t value, unsigned int bytes)
{
	struct i8042 *i8042 = ctx;

	if (offset == 0 && bytes == 4) {
		i8042->config_address = (uint32_t)value & CONFIG_ADDRESS_MASK;
	} else if (offset == BOARD_RESET_PORT - BOARD_PCI_CONFIG_PORT && bytes == 1) {
		bool was_set = i8042->reset_control & RESET_CONTROL_CPU;

		i8042->reset_control = (uint8_t)value;
		if ((value & RESET_CONTROL_CPU) && !was_set) {
			i8042_pull_reset(i8042);
		}
	}
}

/* A guest asks here for the reason of an NMI. */
static uint64_t port_b_read(void *ctx, uint64_t offset, unsigned int bytes)
{
	struct i8042 *i8042 = ctx;

	i8042->port_b ^= PORT_B_REFRESH; /* some wait for it to toggle */
	return i8042->port_b;
}

static void port_b_write(void *ctx, uint64_t offset, uint64_t value, unsigned int bytes)
{
	struct i8042 *i8042 = ctx;

	i8042->port_b &= PORT_B_REFRESH;
	i8042->port_b |= (uint8_t)(value & PORT_B_WRITABLE);
}

static const struct io_region_ops data_ops = { i8042_data_read, i8042_data_write };
static const struct io_region_ops command_ops = { i8042_status_read, i8042_command_write };
static const struct io_region_ops config_ops = { config_read, config_write };
static const struct io_region_ops port_b_ops = { port_b_read, port_b_write };

static void i8042_power_on(struct i8042 *i8042)
{
	i8042->output = 0;
	i8042->status = STATUS_SYSTEM;
	i8042->command = 0;
	i8042->config_address = 0;
	i8042->reset_control = 0;
	i8042->port_b = 0;
}

int i8042_create(struct chipset *chipset, const struct chipset_power *power, struct i8042 **ret)
{
	struct i8042 *i8042 = fault_alloc(1, sizeof(*i8042));
	int err;

	if (!i8042) {
		return -ENOMEM;
	}
	i8042->chipset = chipset;
	i8042->power = *power;
	i8042_power_on(i8042);

	const struct io_region regions[] = {
		{ &data_ops, i8042, BOARD_I8042_DATA_PORT, 1, "i8042 data" },
		{ &port_b_ops, i8042, BOARD_PORT_B, 1, "port b" },
		{ &command_ops, i8042, BOARD_I8042_COMMAND_PORT, 1, "i8042 command" },
		{ &config_ops, i8042, BOARD_PCI_CONFIG_PORT, BOARD_PCI_CONFIG_BYTES, "pci config" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(regions); i++) {
		err = chipset_pio_add(chipset, &regions[i]);
		if (err) {
			i8042_destroy(i8042);
			return err;
		}
	}
	*ret = i8042;
	return 0;
}

void i8042_destroy(struct i8042 *i8042)
{
	if (i8042) {
		chipset_remove(i8042->chipset, i8042);
	}
	free(i8042);
}

void i8042_reset(struct i8042 *i8042)
{
	chipset_lock(i8042->chipset);
	i8042_power_on(i8042);
	chipset_unlock(i8042->chipset);
}

void i8042_save(struct i8042 *i8042, struct save *save)
{
	chipset_lock(i8042->chipset);
	save_u32(save, I8042_STATE_OUTPUT, i8042->output);
	save_u32(save, I8042_STATE_STATUS, i8042->status);
	save_u32(save, I8042_STATE_COMMAND, i8042->command);
	save_u32(save, I8042_STATE_CONFIG_ADDRESS, i8042->config_address);
	save_u32(save, I8042_STATE_RESET_CONTROL, i8042->reset_control);
	save_u32(save, I8042_STATE_PORT_B, i8042->port_b);
	chipset_unlock(i8042->chipset);
}

int i8042_load(struct i8042 *i8042, struct load *load)
{
	struct load_field field;

	chipset_lock(i8042->chipset);
	i8042_power_on(i8042);
	while (load_next(load, &field)) {
		switch (field.tag) {
		case I8042_STATE_OUTPUT:
			i8042->output = (uint8_t)load_u32(load, &field);
			break;
		case I8042_STATE_STATUS:
			i8042->status = (uint8_t)load_u32(load, &field);
			break;
		case I8042_STATE_COMMAND:
			i8042->command = (uint8_t)load_u32(load, &field);
			break;
		case I8042_STATE_CONFIG_ADDRESS:
			i8042->config_address = load_u32(load, &field) & CONFIG_ADDRESS_MASK;
			break;
		case I8042_STATE_RESET_CONTROL:
			i8042->reset_control = (uint8_t)load_u32(load, &field);
			break;
		case I8042_STATE_PORT_B:
			i8042->port_b = (uint8_t)load_u32(load, &field) &
					(PORT_B_WRITABLE | PORT_B_REFRESH);
			break;
		default:
			break;
		}
	}
	chipset_unlock(i8042->chipset);
	return load_result(load);
}

void i8042_inspect(struct i8042 *i8042, struct inspect *at)
{
	chipset_lock(i8042->chipset);
	inspect_u64(at, "resets", i8042->resets);
	chipset_unlock(i8042->chipset);
}
