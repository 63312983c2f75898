/* SPDX-License-Identifier: MIT */
#include "base/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "base/check.h"

/* The one mutable global of the program (CONTRIBUTING.md, ownership). */
static enum log_level threshold = LOG_WARN;

/* Longest line, with its newline; longer ones are cut. */
#define LINE_BYTES 1024

static const char *const level_names[] = {
	[LOG_ERROR] = "error",
	[LOG_WARN] = "warning",
	[LOG_INFO] = "info",
	[LOG_DEBUG] = "debug",
};

void log_set_level(enum log_level level)
{
	threshold = level;
}

enum log_level log_level(void)
{
	return threshold;
}

/* One write(2) per line, so that lines of several threads do not mix. */
static void write_line(enum log_level level, const char *area, const char *fmt, va_list args)
{
	char line[LINE_BYTES];
	int len = snprintf(line, sizeof(line), "tabique: %s: %s: ", level_names[level], area);
	int room = (int)sizeof(line) - len - 1;
	int text = vsnprintf(line + len, (size_t)room, fmt, args);

	len += text < room ? text : room - 1;
	/* What a guest gave us may hold control characters: keep the terminal safe. */
	for (int i = 0; i < len; i++) {
		if ((unsigned char)line[i] < ' ' || line[i] == 0x7f) {
			line[i] = ' ';
		}
	}
	line[len++] = '\n';
	ssize_t done = write(STDERR_FILENO, line, (size_t)len);
	(void)done; /* nowhere left to complain */
}

void log_write(enum log_level level, const char *area, const char *fmt, ...)
{
	va_list args;

	if (level > threshold) {
		return;
	}
	va_start(args, fmt);
	write_line(level, area, fmt, args);
	va_end(args);
}

static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000ULL + (uint64_t)now.tv_nsec;
}

bool log_guest_drops(struct log_rate *rate)
{
	bool is_full = rate->lines >= LOG_RATE_BURST &&
		       now_ns() - rate->window_start_ns <= LOG_RATE_WINDOW_NS;

	rate->dropped += is_full;
	return is_full;
}

void log_guest(struct log_rate *rate, const char *area, const char *fmt, ...)
{
	uint32_t dropped = 0;
	va_list args;

	if (log_guest_drops(rate)) {
		return;
	}
	uint64_t now = now_ns();

	if (rate->window_start_ns == 0 || now - rate->window_start_ns > LOG_RATE_WINDOW_NS) {
		dropped = rate->dropped;
		*rate = (struct log_rate){ .window_start_ns = now };
	}
	rate->lines++;
	if (dropped) {
		log_warn(area, "%u similar messages dropped", dropped);
	}
	if (LOG_WARN > threshold) {
		return;
	}
	va_start(args, fmt);
	write_line(LOG_WARN, area, fmt, args);
	va_end(args);
}

void check_failed(const char *file, int line, const char *func, const char *cond)
{
	log_error("check", "%s:%d: %s: broken: %s", file, line, func, cond);
	abort();
}
