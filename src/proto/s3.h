/* SPDX-License-Identifier: MIT */
/*
 * The registers of S3's 86C764 (Trio64), and of the VGA in it.
 *
 *   spec    S3 Trio32/Trio64 Integrated Graphics Accelerators (DB014-B): 15 (VGA registers), 16 (S3 VGA
 *           registers, CR30-CR3F), 17 (system control, CR40-CR4F), 18 (system extension, CR50-CR6F), 19
 *           (enhanced commands), 20 (PCI configuration); IBM PS/2 Hardware Interface Technical Reference:
 *           Video Subsystems (VGA)
 */
#pragma once

#define S3_VENDOR               0x5333U
#define S3_DEVICE_TRIO64        0x8811U
#define S3_VRAM_BYTES           (4U << 20)
#define S3_BAR_BYTES            (64U << 20) /* BAR 0: linear addressing */
#define S3_ROM_BYTES            0x10000U

/* ---- ports ------------------------------------------------------------------------------------- */

#define VGA_PORT_MONO           0x3b0U /* to 0x3bb: the CRTC of monochrome modes */
#define VGA_PORT_MONO_COUNT     12U
#define VGA_PORT_COLOR          0x3c0U /* to 0x3df */
#define VGA_PORT_COLOR_COUNT    32U
#define VGA_PORT_ATTRIBUTE      0x3c0U
#define VGA_PORT_ATTRIBUTE_READ 0x3c1U
#define VGA_PORT_MISC           0x3c2U /* reading: input status 0 */
#define VGA_PORT_ENABLE         0x3c3U
#define VGA_PORT_SEQ_INDEX      0x3c4U
#define VGA_PORT_SEQ_DATA       0x3c5U
#define VGA_PORT_DAC_MASK       0x3c6U
#define VGA_PORT_DAC_READ       0x3c7U /* reading: the state */
#define VGA_PORT_DAC_WRITE      0x3c8U
#define VGA_PORT_DAC_DATA       0x3c9U
#define VGA_PORT_FEATURE_READ   0x3caU
#define VGA_PORT_MISC_READ      0x3ccU
#define VGA_PORT_GFX_INDEX      0x3ceU
#define VGA_PORT_GFX_DATA       0x3cfU
#define VGA_PORT_CRTC_INDEX     0x3d4U
#define VGA_PORT_CRTC_DATA      0x3d5U
#define VGA_PORT_STATUS_1       0x3daU /* writing: feature control */

#define VGA_MEMORY_GPA          0xa0000U
#define VGA_MEMORY_BYTES        0x20000U

/* ---- miscellaneous output, input status --------------------------------------------------------- */

#define VGA_MISC_COLOR          0x01U /* the CRTC is at 0x3dx */
#define VGA_MISC_RAM            0x02U
#define VGA_STATUS_0_SENSE      0x10U
#define VGA_STATUS_1_NO_DISPLAY 0x01U
#define VGA_STATUS_1_RETRACE    0x08U

/* ---- sequencer ---------------------------------------------------------------------------------- */

#define VGA_SR_CLOCKING         0x01U
#define VGA_SR1_EIGHT_DOTS      0x01U
#define VGA_SR1_HALF_CLOCK      0x08U
#define VGA_SR1_SCREEN_OFF      0x20U
#define VGA_SR_PLANES           0x02U
#define VGA_SR_FONTS            0x03U
#define VGA_SR_MEMORY           0x04U
#define VGA_SR4_SEQUENTIAL      0x04U /* off: odd/even */
#define VGA_SR4_CHAIN_4         0x08U
#define S3_SR_UNLOCK            0x08U
#define S3_SR_UNLOCK_VALUE      0x06U /* bits 3-0 */
#define S3_SR_MCLK_N            0x10U
#define S3_SR_MCLK_M            0x11U
#define S3_SR_DCLK_N            0x12U
#define S3_SR_DCLK_M            0x13U
#define S3_SR_COUNT             0x20U

/* ---- graphics controller ------------------------------------------------------------------------- */

#define VGA_GR_SET_RESET        0x00U
#define VGA_GR_ENABLE_SR        0x01U
#define VGA_GR_COMPARE          0x02U
#define VGA_GR_ROTATE           0x03U
#define VGA_GR_READ_PLANE       0x04U
#define VGA_GR_MODE             0x05U
#define VGA_GR5_WRITE_MODE      0x03U
#define VGA_GR5_READ_COMPARE    0x08U
#define VGA_GR5_ODD_EVEN        0x10U
#define VGA_GR5_SHIFT_CGA       0x20U
#define VGA_GR5_SHIFT_256       0x40U
#define VGA_GR_MISC             0x06U
#define VGA_GR6_GRAPHICS        0x01U
#define VGA_GR6_CHAIN_ODD_EVEN  0x02U
#define VGA_GR_DONT_CARE        0x07U
#define VGA_GR_BIT_MASK         0x08U
#define VGA_GR_COUNT            0x09U

/* ---- attribute controller ------------------------------------------------------------------------ */

#define VGA_AR_MODE             0x10U
#define VGA_AR10_LINE_GRAPHICS  0x04U
#define VGA_AR10_BLINK          0x08U
#define VGA_AR10_PAN_SPLIT      0x20U
#define VGA_AR10_PIXEL_8        0x40U
#define VGA_AR10_P54            0x80U
#define VGA_AR_PLANES           0x12U
#define VGA_AR_PAN              0x13U
#define VGA_AR_COLOR_SELECT     0x14U
#define VGA_AR_COUNT            0x15U
#define VGA_AR_INDEX_ON         0x20U /* in the index: the palette is the screen's */

/* ---- CRTC ----------------------------------------------------------------------------------------- */

#define VGA_CR_H_DISPLAY        0x01U
#define VGA_CR_OVERFLOW         0x07U
#define VGA_CR_PRESET_ROW       0x08U
#define VGA_CR_MAX_SCAN         0x09U
#define VGA_CR_CURSOR_START     0x0aU
#define VGA_CRA_CURSOR_OFF      0x20U
#define VGA_CR_CURSOR_END       0x0bU
#define VGA_CR_START_HIGH       0x0cU
#define VGA_CR_START_LOW        0x0dU
#define VGA_CR_CURSOR_HIGH      0x0eU
#define VGA_CR_CURSOR_LOW       0x0fU
#define VGA_CR_V_SYNC_END       0x11U
#define VGA_CR11_PROTECT        0x80U
#define VGA_CR_V_DISPLAY        0x12U
#define VGA_CR_OFFSET           0x13U
#define VGA_CR_UNDERLINE        0x14U
#define VGA_CR14_DWORD          0x40U
#define VGA_CR_MODE             0x17U
#define VGA_CR17_MA13           0x01U /* off: row scan bit 0 is address bit 13 */
#define VGA_CR17_MA14           0x02U
#define VGA_CR17_V_DOUBLE       0x04U
#define VGA_CR17_COUNT_2        0x08U
#define VGA_CR17_WRAP_15        0x20U
#define VGA_CR17_BYTE           0x40U
#define VGA_CR17_RUN            0x80U
#define VGA_CR_LINE_COMPARE     0x18U
#define VGA_CR_LATCH            0x22U
#define VGA_CR_ATTR_STATE       0x24U
#define VGA_CR_ATTR_INDEX       0x26U

#define S3_CR_ID_HIGH           0x2dU
#define S3_CR_ID_LOW            0x2eU
#define S3_CR_REVISION          0x2fU
#define S3_CR_CHIP_ID           0x30U
#define S3_CHIP_ID_TRIO         0xe1U
#define S3_CR_MEMORY            0x31U
#define S3_CR31_BANKS           0x01U
#define S3_CR31_ENHANCED        0x08U /* memory is flat, the CRTC counts in doublewords */
#define S3_CR31_FAST_TEXT       0x40U
#define S3_CR_LOCK_TIMING       0x35U
#define S3_CR35_LOCK_VERTICAL   0x10U
#define S3_CR35_LOCK_HORIZONTAL 0x20U
#define S3_CR_STRAPS_1          0x36U
#define S3_CR_STRAPS_2          0x37U
#define S3_CR_UNLOCK_1          0x38U /* 01xx10xx */
#define S3_CR_UNLOCK_2          0x39U /* 101xxxxx */
#define S3_CR_MISC_1            0x3aU
#define S3_CR3A_ENHANCED        0x10U /* 8 bits per pixel and more */
#define S3_CR_SYSTEM            0x40U
#define S3_CR40_ENGINE          0x01U /* the enhanced commands' ports answer */
#define S3_CR_MODE_CONTROL      0x42U
#define S3_CR42_INTERLACED      0x20U
#define S3_CR_EXTENDED_MODE     0x43U
#define S3_CR43_OFFSET_8        0x04U
#define S3_CR_CURSOR_MODE       0x45U
#define S3_CR_CURSOR_X          0x46U /* high, low */
#define S3_CR_CURSOR_Y          0x48U /* high, low */
#define S3_CR_CURSOR_FG         0x4aU
#define S3_CR_CURSOR_BG         0x4bU
#define S3_CR_CURSOR_ADDRESS    0x4cU /* high, low: 1024 bytes each */
#define S3_CR_CURSOR_OFFSET_X   0x4eU
#define S3_CR_CURSOR_OFFSET_Y   0x4fU
#define S3_CR_SYSTEM_2          0x51U
#define S3_CR_DAC               0x55U
#define S3_CR55_CURSOR_X11      0x10U
#define S3_CR_SYNC              0x56U
#define S3_CR56_NO_SYNC         0x06U
#define S3_CR_LINEAR            0x58U
#define S3_CR58_ENABLE          0x10U
#define S3_CR58_SIZE            0x03U /* 64 KB, 1 MB, 2 MB, 4 MB */
#define S3_CR_LINEAR_HIGH       0x59U
#define S3_CR_LINEAR_LOW        0x5aU
#define S3_CR_H_OVERFLOW        0x5dU
#define S3_CR_V_OVERFLOW        0x5eU
#define S3_CR_PIXELS            0x67U
#define S3_CR67_FORMAT          0xf0U
#define S3_CR67_8               0x00U
#define S3_CR67_8_DOUBLE        0x10U
#define S3_CR67_15              0x30U
#define S3_CR67_16              0x50U
#define S3_CR67_32              0xd0U
#define S3_CR_START             0x69U
#define S3_CR_BANK              0x6aU
#define S3_CR_COUNT             0x70U

/* ---- enhanced commands ------------------------------------------------------------------------------ */

#define S3_ENGINE_STATUS_PORT   0x42e8U
#define S3_ENGINE_STATUS_8BPP   0x0080U
#define S3_ENGINE_STATUS_EMPTY  0x0008U
#define S3_ENGINE_CONTROL_PORT  0x4ae8U
#define S3_ENGINE_FIRST_PORT    0x82e8U /* and each 0x400 to 0xbee8, and 0xe2e8 */
#define S3_ENGINE_COMMAND_PORT  0x9ae8U
#define S3_ENGINE_LAST_PORT     0xbee8U
#define S3_ENGINE_PIXEL_PORT    0xe2e8U
#define S3_ENGINE_IDLE          0x0400U /* reading the command's port: all FIFO slots are empty, not busy */
