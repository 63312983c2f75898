/* SPDX-License-Identifier: MIT */
/*
 * The function on the bus: configuration space, and the legacy ports, which are decoded while both the
 * channel's timing register (bit 15) and the command register's I/O bit say so (PIIX4: 5.2.3, 5.1.3).
 */
#include <errno.h>

#include "chipset/ide/ide_internal.h"

static uint64_t command_read(void *ctx, uint64_t offset, unsigned int bytes)
{
	struct ide_channel *channel = ctx;

	if (offset == ATA_REG_DATA) {
		return ide_data_read(channel, bytes);
	}
	return ide_register_read(channel, (unsigned int)offset);
}

static void command_write(void *ctx, uint64_t offset, uint64_t value, unsigned int bytes)
{
	struct ide_channel *channel = ctx;

	if (offset == ATA_REG_DATA) {
		ide_data_write(channel, (uint32_t)value, bytes);
	} else {
		ide_register_write(channel, (unsigned int)offset, (uint8_t)value);
	}
}

static uint64_t control_read(void *ctx, uint64_t offset, unsigned int bytes)
{
	return ide_status_read(ctx);
}

static void control_write(void *ctx, uint64_t offset, uint64_t value, unsigned int bytes)
{
	ide_control_write(ctx, (uint8_t)value);
}

static const struct io_region_ops command_ops = { command_read, command_write };
static const struct io_region_ops control_ops = { control_read, control_write };
static const struct io_region_ops bm_ops = { ide_bm_read, ide_bm_write };

static const struct {
	uint16_t command, control;
	const char *name, *control_name;
} ports[IDE_CHANNELS] = {
	{ ATA_PORT_PRIMARY, ATA_PORT_PRIMARY_CONTROL, "ide0", "ide0 control" },
	{ ATA_PORT_SECONDARY, ATA_PORT_SECONDARY_CONTROL, "ide1", "ide1 control" },
};

static int map_channel(struct ide_channel *channel)
{
	struct chipset *chipset = channel->ide->chipset;
	unsigned int i = channel->index;
	const struct io_region command = { &command_ops, channel, ports[i].command,
					   ATA_COMMAND_BLOCK_BYTES, ports[i].name };
	const struct io_region control = { &control_ops, channel, ports[i].control, 1,
					   ports[i].control_name };
	int err = chipset_map(chipset, true, &command);

	if (!err) {
		err = chipset_map(chipset, true, &control);
		if (err) {
			chipset_unmap(chipset, true, command.base);
		}
	}
	channel->is_mapped = !err;
	return err;
}

static void unmap_channel(struct ide_channel *channel)
{
	if (channel->is_mapped) {
		chipset_unmap(channel->ide->chipset, true, ports[channel->index].command);
		chipset_unmap(channel->ide->chipset, true, ports[channel->index].control);
		channel->is_mapped = false;
	}
}

static bool is_decoded(const struct ide *ide, unsigned int channel)
{
	return (ide->function.config[PIIX_IDE_TIMING + 2 * channel + 1] & PIIX_IDE_TIMING_DECODE) &&
	       (pci_get(&ide->function, PCI_COMMAND, 2) & PCI_COMMAND_IO);
}

void ide_pci_follow(struct ide *ide)
{
	for (unsigned int i = 0; i < IDE_CHANNELS; i++) {
		struct ide_channel *channel = &ide->channels[i];

		if (!is_decoded(ide, i)) {
			unmap_channel(channel);
		} else if (!channel->is_mapped) {
			/* Somebody else is there: then he answers, and a guest finds no drives. */
			(void)!map_channel(channel);
		}
	}
}

static void config_written(struct pci_function *function, uint32_t offset, unsigned int bytes)
{
	struct ide *ide = function->ctx;

	ide_pci_follow(ide);
	for (unsigned int i = 0; i < IDE_CHANNELS; i++) {
		ide_kick(&ide->channels[i]); /* it may be master of the bus now */
	}
}

static const struct pci_function_ops function_ops = { .config_written = config_written };

void ide_pci_reset(struct ide *ide)
{
	struct pci_function *function = &ide->function;

	pci_function_reset(function);
	pci_put(function, PIIX_IDE_TIMING, 0, 4);
	pci_put(function, PIIX_IDE_SLAVE_TIMING, 0, 1);
	pci_put(function, PIIX_IDE_ULTRA_CONTROL, 0, 4);
	if (ide->is_decoded) {
		pci_put(function, PCI_COMMAND, PCI_COMMAND_IO, 2);
		for (unsigned int i = 0; i < IDE_CHANNELS; i++) {
			function->config[PIIX_IDE_TIMING + 2 * i + 1] = PIIX_IDE_TIMING_DECODE;
		}
	}
	ide_pci_follow(ide);
}

int ide_pci_init(struct ide *ide, const struct ide_config *config)
{
	static const struct pci_identity identity = {
		.vendor = PIIX_IDE_VENDOR,
		.device = PIIX_IDE_DEVICE,
		.revision = 1,
		.class_code = PIIX_IDE_CLASS,
	};
	struct pci_function *function = &ide->function;
	int err;

	pci_function_init(function, "ide", &identity);
	function->ops = &function_ops;
	function->ctx = ide;
	pci_put(function, PCI_STATUS, PCI_STATUS_FAST_BACK | PCI_STATUS_MEDIUM, 2);
	for (unsigned int i = 0; i < 5; i++) {
		function->writable[PIIX_IDE_TIMING + i] = 0xff;
	}
	function->writable[PIIX_IDE_ULTRA_CONTROL] = 0x0f;
	function->writable[PIIX_IDE_ULTRA_TIMING] = 0x33;
	function->writable[PIIX_IDE_ULTRA_TIMING + 1] = 0x33;
	function->bars[PIIX_IDE_BAR] = (struct pci_bar){
		.bytes = PIIX_IDE_BAR_BYTES,
		.is_io = true,
		.ops = &bm_ops,
		.ctx = ide,
		.name = "ide bus master",
	};
	err = pci_add(config->bus, function, config->devfn);
	if (err) {
		return err;
	}
	chipset_lock(ide->chipset);
	ide_pci_reset(ide);
	for (unsigned int i = 0; i < IDE_CHANNELS; i++) {
		err = ide->is_decoded && !ide->channels[i].is_mapped ? -EEXIST : err;
	}
	chipset_unlock(ide->chipset);
	return err;
}

void ide_pci_fini(struct ide *ide)
{
	chipset_lock(ide->chipset);
	for (unsigned int i = 0; i < IDE_CHANNELS; i++) {
		unmap_channel(&ide->channels[i]);
	}
	chipset_unlock(ide->chipset);
	pci_remove(&ide->function);
}
