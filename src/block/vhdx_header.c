/* SPDX-License-Identifier: MIT */
/* VHDX: writing the two headers, so that one of them is valid at any moment. */
#include "block/vhdx_internal.h"

static void header_write_next(struct vhdx *vhdx);

static void header_on_written(struct vhdx *vhdx)
{
	struct vhdx_log *log = &vhdx->log;
	unsigned int other = 1 - log->headers.current;

	log->headers.copy[other] = log->header_next;
	log->headers.is_valid[other] = true;
	log->headers.current = other;
	if (++log->headers_written < VHDX_HEADER_COPIES) {
		header_write_next(vhdx);
		return;
	}
	log->headers_unsure = false;
	log->after_headers(vhdx);
}

/* Over the older one. */
static void header_write_next(struct vhdx *vhdx)
{
	struct vhdx_log *log = &vhdx->log;
	uint8_t *buf = vhdx_log_header_buffer(log);

	log->header_next.sequence = log->headers.copy[log->headers.current].sequence + 1;
	vhdx_header_build(&log->header_next, buf);
	vhdx_log_submit_durable(vhdx, VHDX_HEADER_AT(1 - log->headers.current), buf,
				VHDX_HEADER_BYTES, header_on_written);
}

void vhdx_headers_write(struct vhdx *vhdx, vhdx_step_fn *after)
{
	struct vhdx_log *log = &vhdx->log;

	log->after_headers = after;
	log->headers_written = 0;
	log->headers_unsure = true;
	header_write_next(vhdx);
}
