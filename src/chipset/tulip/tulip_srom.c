/* SPDX-License-Identifier: MIT */
/*
 * A 93C46 takes a start bit, two bits of instruction and six of address; data follows. What is shifted in
 * counts at the clock's rising edges while it is selected, and deselecting ends everything.
 */
#include <string.h>

#include "base/bytes.h"
#include "chipset/tulip/tulip_crc.h"
#include "chipset/tulip/tulip_serial.h"

#define HEAD_BITS       8U /* instruction and address */
#define WORD_BITS       16U
#define ADDRESS_MASK    0x3fU
#define OP_OTHER        0U
#define OP_WRITE        1U
#define OP_READ         2U
#define OP_ERASE        3U
/* OP_OTHER: the address's first two bits */
#define OTHER_DISABLE   0U
#define OTHER_ERASE_ALL 2U
#define OTHER_ENABLE    3U
#define ERASED          0xffffU

enum {
	SROM_STATE_WORDS = 1,
	SROM_STATE_WIRES = 2, /* selected, clock, out, started, writable: a bit each */
	SROM_STATE_BITS = 3,
	SROM_STATE_OUT_BITS = 4,
	SROM_STATE_SHIFT = 5,
	SROM_STATE_OUT_WORD = 6,
	SROM_STATE_ADDRESS = 7,
};

/* ---- what is in it ---------------------------------------------------------------------------------- */

/* Where Autosense begins, pins that are inputs all, one block. */
static const uint8_t leaf[] = {
	0x00, 0x08, /* connection: selected by sensing */
	0x00,       /* general purpose pins: inputs */
	0x01,       /* blocks */
	/* the block of an MII PHY of a 21140 (format 1): the first PHY, no sequences on the pins */
	0x80 | 12, 0x01, 0x00, 0x00, 0x00, 0x00,
	0x78,       /* can: 100 and 10 Mb/s, full and half duplex */
	0xe1, 0x01, /* advertises all of them */
	0x00, 0x50, /* of those, full duplex */
	0x00, 0x18, /* of those, 10 Mb/s: the transmit threshold mode */
};

#define LEAF_OFFSET 30U
_Static_assert(LEAF_OFFSET + sizeof(leaf) <= TULIP_SROM_CHECKSUM, "the leaf fits");

/* CRC-8 (x^8 + x^2 + x + 1) of the first words, high bits first, but for the byte that holds it. */
static uint8_t id_crc(const uint8_t *image)
{
	uint8_t crc = 0xff;

	for (unsigned int i = 0; i < TULIP_SROM_ID_CRC + 1; i++) {
		/* of each word the high byte first; of the ninth only that */
		uint8_t byte = image[i ^ 1U];

		for (unsigned int bit = 0x80; bit; bit >>= 1) {
			bool carry = ((crc & 0x80) != 0) != ((byte & bit) != 0);

			crc = (uint8_t)(crc << 1 ^ (carry ? 0x07 : 0));
		}
	}
	return crc;
}

static void make_image(uint8_t *image, const uint8_t *mac)
{
	memset(image, 0, TULIP_SROM_BYTES);
	bytes_put_le16(image, TULIP_PCI_SUBSYSTEM_VENDOR);
	bytes_put_le16(image + 2, TULIP_PCI_SUBSYSTEM_DEVICE);
	image[TULIP_SROM_ID_CRC] = id_crc(image);
	image[TULIP_SROM_FORMAT] = 4;
	image[TULIP_SROM_CONTROLLERS] = 1;
	memcpy(image + TULIP_SROM_ADDRESS, mac, NET_MAC_BYTES);
	image[TULIP_SROM_DEVICE] = 0;
	bytes_put_le16(image + TULIP_SROM_LEAF, LEAF_OFFSET);
	memcpy(image + LEAF_OFFSET, leaf, sizeof(leaf));
	bytes_put_le16(image + TULIP_SROM_CHECKSUM,
		       (uint16_t)~tulip_crc_bytes(image, TULIP_SROM_CHECKSUM));
}

void tulip_srom_init(struct tulip_srom *srom, const uint8_t *mac)
{
	uint8_t image[TULIP_SROM_BYTES];

	*srom = (struct tulip_srom){ .out = true };
	make_image(image, mac);
	for (unsigned int i = 0; i < TULIP_SROM_WORDS; i++) {
		srom->words[i] = bytes_le16(image + 2 * i);
	}
}

/* ---- the wires --------------------------------------------------------------------------------------- */

static void fill(struct tulip_srom *srom, uint16_t word)
{
	for (unsigned int i = 0; i < TULIP_SROM_WORDS; i++) {
		srom->words[i] = word;
	}
}

/* Programming begins when it is deselected after the last bit. It takes no time here. */
static void program(struct tulip_srom *srom)
{
	bool has_data = srom->bits == HEAD_BITS + WORD_BITS;
	unsigned int head, op, other;

	if (srom->bits < HEAD_BITS) {
		return; /* given up half-way */
	}
	head = srom->shift >> (srom->bits - HEAD_BITS);
	op = head >> 6 & 3;
	other = head >> 4 & 3;
	if (op == OP_OTHER && (other == OTHER_ENABLE || other == OTHER_DISABLE)) {
		srom->is_writable = other == OTHER_ENABLE;
	} else if (!srom->is_writable) {
		return;
	} else if (op == OP_ERASE) {
		srom->words[head & ADDRESS_MASK] = ERASED;
	} else if (op == OP_OTHER && other == OTHER_ERASE_ALL) {
		fill(srom, ERASED);
	} else if (op == OP_WRITE && has_data) {
		srom->words[head & ADDRESS_MASK] = (uint16_t)srom->shift;
	} else if (op == OP_OTHER && has_data) {
		fill(srom, (uint16_t)srom->shift); /* all of them */
	}
}

/* After the address's last bit a 0 comes out, and then word after word. */
static void read_on(struct tulip_srom *srom)
{
	if (srom->out_bits == 0) {
		srom->out_word = srom->words[srom->address];
		srom->address = (srom->address + 1) & ADDRESS_MASK;
		srom->out_bits = WORD_BITS;
	}
	srom->out_bits--;
	srom->out = srom->out_word >> srom->out_bits & 1;
}

static void rising(struct tulip_srom *srom, bool in)
{
	if (!srom->started) {
		srom->started = in;
		srom->bits = 0;
		srom->shift = 0;
		return;
	}
	if (srom->bits == HEAD_BITS && (srom->shift >> 6 & 3) == OP_READ) {
		read_on(srom);
		return;
	}
	if (srom->bits == HEAD_BITS + WORD_BITS) {
		return; /* more than there is to say */
	}
	srom->shift = srom->shift << 1 | in;
	srom->bits++;
	if (srom->bits == HEAD_BITS && (srom->shift >> 6 & 3) == OP_READ) {
		srom->address = srom->shift & ADDRESS_MASK;
		srom->out_bits = 0;
		srom->out = false;
	}
}

void tulip_srom_wires(struct tulip_srom *srom, bool selected, bool clock, bool in)
{
	if (!selected) {
		if (srom->selected && srom->started) {
			program(srom);
		}
		srom->started = false;
		srom->bits = 0;
		srom->shift = 0;
		srom->out = true; /* nobody drives it; selected again it says that it is ready */
	} else if (srom->selected && clock && !srom->clock) {
		rising(srom, in);
	}
	srom->selected = selected;
	srom->clock = clock;
}

/* ---- state ------------------------------------------------------------------------------------------- */

void tulip_srom_save(const struct tulip_srom *srom, struct save *save)
{
	uint8_t image[TULIP_SROM_BYTES];

	for (unsigned int i = 0; i < TULIP_SROM_WORDS; i++) {
		bytes_put_le16(image + 2 * i, srom->words[i]);
	}
	save_bytes(save, SROM_STATE_WORDS, image, sizeof(image));
	save_u32(save, SROM_STATE_WIRES,
		 srom->selected | (uint32_t)srom->clock << 1 | (uint32_t)srom->out << 2 |
			 (uint32_t)srom->started << 3 | (uint32_t)srom->is_writable << 4);
	save_u32(save, SROM_STATE_BITS, srom->bits);
	save_u32(save, SROM_STATE_OUT_BITS, srom->out_bits);
	save_u32(save, SROM_STATE_SHIFT, srom->shift);
	save_u32(save, SROM_STATE_OUT_WORD, srom->out_word);
	save_u32(save, SROM_STATE_ADDRESS, srom->address);
}

static void load_field(struct tulip_srom *srom, struct load *load, const struct load_field *field)
{
	uint8_t image[TULIP_SROM_BYTES];
	uint32_t value;

	if (field->tag == SROM_STATE_WORDS) {
		load_bytes(load, field, image, sizeof(image));
		for (unsigned int i = 0; i < TULIP_SROM_WORDS; i++) {
			srom->words[i] = bytes_le16(image + 2 * i);
		}
		return;
	}
	if (field->tag > SROM_STATE_ADDRESS) {
		return; /* of a later version */
	}
	value = load_u32(load, field);
	switch (field->tag) {
	case SROM_STATE_WIRES:
		srom->selected = value & 1;
		srom->clock = value >> 1 & 1;
		srom->out = value >> 2 & 1;
		srom->started = value >> 3 & 1;
		srom->is_writable = value >> 4 & 1;
		break;
	case SROM_STATE_BITS:
		srom->bits = (uint8_t)value;
		break;
	case SROM_STATE_OUT_BITS:
		srom->out_bits = (uint8_t)value;
		break;
	case SROM_STATE_SHIFT:
		srom->shift = value;
		break;
	case SROM_STATE_OUT_WORD:
		srom->out_word = (uint16_t)value;
		break;
	case SROM_STATE_ADDRESS:
		srom->address = (uint8_t)value;
		break;
	default:
		break;
	}
}

int tulip_srom_load(struct tulip_srom *srom, struct load *load)
{
	struct load_field field;

	while (load_next(load, &field)) {
		load_field(srom, load, &field);
	}
	if (srom->bits > HEAD_BITS + WORD_BITS || srom->out_bits >= WORD_BITS ||
	    srom->address > ADDRESS_MASK) {
		load_fail(load);
		srom->bits = srom->out_bits = srom->address = 0;
	}
	return load_result(load);
}
