/* SPDX-License-Identifier: MIT */
/* The DVD drive's commands: scsi_dvd.c (the drive), scsi_dvd_disc.c (what is on the disc). */
#pragma once

#include "scsi/scsi_disk_internal.h"

#define DVD_CAPABILITIES_BYTES 20

/* Whether the disc passes for a compact one. There is a disc. */
bool scsi_dvd_is_cd(const struct scsi_request *request);

/* scsi_dvd.c */
scsi_command_fn scsi_dvd_start_stop, scsi_dvd_prevent, scsi_dvd_event_status, scsi_dvd_mechanism,
	scsi_dvd_configuration, scsi_dvd_set_speed;
uint32_t scsi_dvd_page_capabilities(const struct scsi_disk *disk, unsigned int control,
				    uint8_t *at);

/* scsi_dvd_disc.c */
scsi_command_fn scsi_dvd_read_toc, scsi_dvd_disc_information, scsi_dvd_track_information,
	scsi_dvd_structure, scsi_dvd_read_cd, scsi_dvd_seek, scsi_dvd_format_capacities;
