/* SPDX-License-Identifier: MIT */
#include "vsp/net/netvsp_loan.h"

#include <errno.h>
#include <string.h>

#include "state/load.h"

/* Tags are for ever. */
enum { LOAN_NAME = 1, LOAN_MAC = 2, LOAN_QUEUES_MAX = 3, LOAN_NO_RSC = 4, LOAN_NVSP_MAX = 5 };

void netvsp_loan_build(const struct netvsp_loan *loan, struct save *save)
{
	save_bytes(save, LOAN_NAME, loan->name, strlen(loan->name));
	if (loan->has_mac) {
		save_bytes(save, LOAN_MAC, loan->mac, sizeof(loan->mac));
	}
	save_u32(save, LOAN_QUEUES_MAX, loan->queues_max);
	save_u32(save, LOAN_NO_RSC, loan->no_rsc);
	save_u32(save, LOAN_NVSP_MAX, loan->nvsp_max);
}

static void parse_name(struct load *load, const struct load_field *field, struct netvsp_loan *loan)
{
	if (field->length == 0 || field->length >= sizeof(loan->name) ||
	    memchr(field->bytes, '\0', field->length)) {
		load_fail(load);
		return;
	}
	memset(loan->name, 0, sizeof(loan->name));
	load_bytes(load, field, loan->name, field->length);
}

int netvsp_loan_parse(const void *bytes, size_t length, struct netvsp_loan *ret)
{
	struct netvsp_loan loan = { .name = "net0" };
	struct load_field field;
	struct load load;
	int err;

	load_init(&load, bytes, length);
	while (load_next(&load, &field)) {
		switch (field.tag) {
		case LOAN_NAME:
			parse_name(&load, &field, &loan);
			break;
		case LOAN_MAC:
			load_bytes(&load, &field, loan.mac, sizeof(loan.mac));
			loan.has_mac = true;
			break;
		case LOAN_QUEUES_MAX:
			loan.queues_max = load_u32(&load, &field);
			break;
		case LOAN_NO_RSC:
			loan.no_rsc = load_u32(&load, &field) != 0;
			break;
		case LOAN_NVSP_MAX:
			loan.nvsp_max = load_u32(&load, &field);
			break;
		default:
			break;
		}
	}
	err = load_result(&load);
	if (!err) {
		*ret = loan;
	}
	return err;
}
