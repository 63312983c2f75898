/* SPDX-License-Identifier: MIT */
/* Who a unit is: serial number and world-wide name, given or made of the identity. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/guid.h"
#include "scsi/scsi_disk_internal.h"

static bool is_printable(const char *s)
{
	for (; *s; s++) {
		if (*s < 0x20 || *s > 0x7e) {
			return false;
		}
	}
	return true;
}

/* The identity without dashes (a GUID's 32 digits); one that is longer is made shorter. */
static void make_serial(struct scsi_disk *disk, const char *identity)
{
	struct guid id;
	size_t n = 0;

	for (const char *c = identity; *c; c++) {
		if (*c == '-') {
			continue;
		}
		if (n == SCSI_SERIAL_BYTES_MAX) {
			guid_from_name(identity, &id);
			for (n = 0; n < 16; n++) {
				snprintf(&disk->serial[2 * n], 3, "%02x", id.bytes[n]);
			}
			return;
		}
		disk->serial[n++] = *c;
	}
	disk->serial[n] = 0;
}

static int digit(char c)
{
	return c >= '0' && c <= '9'   ? c - '0'
	       : c >= 'a' && c <= 'f' ? c - 'a' + 10
	       : c >= 'A' && c <= 'F' ? c - 'A' + 10
				      : -1;
}

static bool parse_wwn(const char *wwn, uint8_t *ret_naa)
{
	size_t digits = strlen(wwn);

	if (!(digits == 16 && wwn[0] == '5') && !(digits == 32 && wwn[0] == '6')) {
		return false;
	}
	for (size_t i = 0; i < digits; i++) {
		if (digit(wwn[i]) < 0) {
			return false;
		}
		ret_naa[i / 2] = (uint8_t)(ret_naa[i / 2] << 4 | digit(wwn[i]));
	}
	return true;
}

/* NAA 6 with Microsoft's OUI, 00-22-48. */
static void make_wwn(struct scsi_disk *disk)
{
	static const uint8_t oui[4] = { 0x60, 0x02, 0x24, 0x80 };

	memcpy(disk->naa, oui, 4);
	memcpy(&disk->naa[4], &disk->unique[0], 6);
	memcpy(&disk->naa[10], &disk->unique[10], 6);
}

/* Linux allows WRITE SAME, and Windows takes its own paths, for these. */
#define VENDOR       "Msft"
#define PRODUCT_DISK "Virtual Disk"
#define PRODUCT_DVD  "Virtual DVD-ROM"

static int set_name(const char *what, const char *name, uint8_t *ret, size_t bytes,
		    struct diag *reterr)
{
	if (!name[0] || strlen(name) > bytes || !is_printable(name)) {
		return diag_set(reterr, -EINVAL,
				"disk %s \"%s\": use 1 to %zu printable ASCII characters", what,
				name, bytes);
	}
	memset(ret, ' ', bytes);
	memcpy(ret, name, strlen(name));
	return 0;
}

static int set_names(struct scsi_disk *disk, const struct scsi_disk_config *config,
		     struct diag *reterr)
{
	const char *product = config->type == SCSI_DVD ? PRODUCT_DVD : PRODUCT_DISK;
	int err = set_name("vendor", config->vendor ? config->vendor : VENDOR, disk->vendor,
			   sizeof(disk->vendor), reterr);

	return err ? err
		   : set_name("product", config->product ? config->product : product, disk->product,
			      sizeof(disk->product), reterr);
}

int scsi_identity_init(struct scsi_disk *disk, const struct scsi_disk_config *config,
		       struct diag *reterr)
{
	const char *identity = config->identity ? config->identity
			       : config->info   ? config->info->identity
						: "";
	struct guid id;

	if (config->serial && (strlen(config->serial) > SCSI_SERIAL_BYTES_MAX ||
			       !config->serial[0] || !is_printable(config->serial))) {
		return diag_set(reterr, -EINVAL,
				"disk serial \"%s\": use 1 to %d printable ASCII characters",
				config->serial, SCSI_SERIAL_BYTES_MAX);
	}
	if (config->serial) {
		snprintf(disk->serial, sizeof(disk->serial), "%s", config->serial);
	} else {
		make_serial(disk, identity);
	}
	guid_from_name(disk->serial, &id);
	memcpy(disk->unique, id.bytes, sizeof(disk->unique));
	if (!config->wwn) {
		make_wwn(disk);
	} else if (!parse_wwn(config->wwn, disk->naa)) {
		return diag_set(
			reterr, -EINVAL,
			"disk WWN \"%s\": use 16 hexadecimal digits that begin with 5, or 32 "
			"that begin with 6",
			config->wwn);
	}
	return set_names(disk, config, reterr);
}
