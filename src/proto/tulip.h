/* SPDX-License-Identifier: MIT */
/*
 * The registers, descriptors and setup frames of a DECchip 21140A, and what its serial ROM holds.
 *
 * Everything in memory is little-endian longwords unless the guest asks for another order (CSR0).
 *
 *   spec    DECchip 21140A PCI Fast Ethernet LAN Controller Hardware Reference Manual (EC-QN7NF-TE): 3.1
 *           (configuration), 3.2 (CSRs), 4.2 (descriptors, setup frames), 4.3 (processes), 7 (ports);
 *           Digital Semiconductor 21X4 Serial ROM Format 4.0; IEEE 802.3 22.2.4 (MII management)
 */
#pragma once

#include <stdint.h>

/* ---- PCI (3.1) ------------------------------------------------------------------------------------- */

#define TULIP_PCI_VENDOR           0x1011U
#define TULIP_PCI_DEVICE           0x0009U
#define TULIP_PCI_REVISION         0x20U
/* What Microsoft's adapter says, and so what its Windows driver looks for. */
#define TULIP_PCI_SUBSYSTEM_VENDOR 0x0a00U
#define TULIP_PCI_SUBSYSTEM_DEVICE 0x2114U
#define TULIP_PCI_MIN_GRANT        0x14U
#define TULIP_PCI_MAX_LATENCY      0x28U

#define TULIP_CFDA                 0x40U /* driver area and power */
#define TULIP_CFDA_DRIVER          0x0000ff00U
#define TULIP_CFDA_SNOOZE          0x40000000U
#define TULIP_CFDA_SLEEP           0x80000000U

/* ---- registers (3.2): a longword every eight bytes -------------------------------------------------- */

#define TULIP_BAR_BYTES            128U
#define TULIP_CSR_STRIDE           8U
#define TULIP_CSR(n)               ((n)*TULIP_CSR_STRIDE)

/* CSR0: bus mode */
#define TULIP_CSR0_ONES            0xfe000000U
#define TULIP_CSR0_SWR             (1U << 0)
#define TULIP_CSR0_DSL_SHIFT       2 /* longwords to skip between descriptors of a ring */
#define TULIP_CSR0_DSL_MASK        0x1fU
#define TULIP_CSR0_BLE             (1U << 7) /* buffers are big-endian */
#define TULIP_CSR0_TAP_SHIFT       17
#define TULIP_CSR0_TAP_MASK        7U
#define TULIP_CSR0_DBO             (1U << 20) /* descriptors are big-endian */

/* CSR5: status; CSR7 enables the same bits */
#define TULIP_CSR5_ONES            0xf0000000U
#define TULIP_CSR5_TI              (1U << 0)
#define TULIP_CSR5_TPS             (1U << 1)
#define TULIP_CSR5_TU              (1U << 2)
#define TULIP_CSR5_TJT             (1U << 3)
#define TULIP_CSR5_UNF             (1U << 5)
#define TULIP_CSR5_RI              (1U << 6)
#define TULIP_CSR5_RU              (1U << 7)
#define TULIP_CSR5_RPS             (1U << 8)
#define TULIP_CSR5_RWT             (1U << 9)
#define TULIP_CSR5_GTE             (1U << 11)
#define TULIP_CSR5_FBE             (1U << 13)
#define TULIP_CSR5_AIS             (1U << 15)
#define TULIP_CSR5_NIS             (1U << 16)
#define TULIP_CSR5_RS_SHIFT        17
#define TULIP_CSR5_TS_SHIFT        20
#define TULIP_CSR5_STATE_MASK      7U
#define TULIP_CSR5_EB_SHIFT        23
#define TULIP_CSR5_EB_MASK         7U
#define TULIP_EB_MASTER_ABORT      1U
#define TULIP_CSR5_NORMAL          (TULIP_CSR5_TI | TULIP_CSR5_TU | TULIP_CSR5_RI | TULIP_CSR5_GTE)
#define TULIP_CSR5_ABNORMAL                                                                        \
	(TULIP_CSR5_TPS | TULIP_CSR5_TJT | TULIP_CSR5_UNF | TULIP_CSR5_RU | TULIP_CSR5_RPS |       \
	 TULIP_CSR5_RWT | TULIP_CSR5_FBE)
#define TULIP_CSR7_ONES           0xfffe0000U
#define TULIP_CSR7_WRITABLE       0x0001efefU

/* The processes' states as CSR5 shows them. */
#define TULIP_RS_STOPPED          0U
#define TULIP_RS_WAIT             3U /* for a frame */
#define TULIP_RS_SUSPENDED        4U
#define TULIP_TS_STOPPED          0U
#define TULIP_TS_FETCH            1U
#define TULIP_TS_READ             3U
#define TULIP_TS_SUSPENDED        6U

/* CSR6: operation mode */
#define TULIP_CSR6_ONES           0x32000000U
#define TULIP_CSR6_RESET          0x32000040U
#define TULIP_CSR6_HP             (1U << 0) /* read only: of the last setup frame, as HO and IF */
#define TULIP_CSR6_SR             (1U << 1)
#define TULIP_CSR6_HO             (1U << 2)
#define TULIP_CSR6_IF             (1U << 4)
#define TULIP_CSR6_PR             (1U << 6)
#define TULIP_CSR6_PM             (1U << 7)
#define TULIP_CSR6_FD             (1U << 9)
#define TULIP_CSR6_OM_SHIFT       10
#define TULIP_CSR6_OM_MASK        3U
#define TULIP_OM_INTERNAL         1U
#define TULIP_CSR6_FC             (1U << 12)
#define TULIP_CSR6_ST             (1U << 13)
#define TULIP_CSR6_PS             (1U << 18)
#define TULIP_CSR6_TTM            (1U << 22)
#define TULIP_CSR6_RA             (1U << 30)
#define TULIP_CSR6_FILTER         (TULIP_CSR6_HP | TULIP_CSR6_HO | TULIP_CSR6_IF)

/* CSR8: frames lost, cleared when read */
#define TULIP_CSR8_ONES           0xe0000000U
#define TULIP_CSR8_MISSED_MAX     0xffffU
#define TULIP_CSR8_MFO            (1U << 16) /* more than that */
#define TULIP_CSR8_OVERFLOW_SHIFT 17
#define TULIP_CSR8_OVERFLOW_MAX   0x7ffU
#define TULIP_CSR8_OCO            (1U << 28)

/* CSR9: the serial ROM, the boot ROM and MII management */
#define TULIP_CSR9_ONES           0xfff08300U
#define TULIP_CSR9_SROM_CS        (1U << 0)
#define TULIP_CSR9_SROM_CLOCK     (1U << 1)
#define TULIP_CSR9_SROM_IN        (1U << 2) /* to the ROM */
#define TULIP_CSR9_SROM_OUT       (1U << 3)
#define TULIP_CSR9_SR             (1U << 11)
#define TULIP_CSR9_BR             (1U << 12)
#define TULIP_CSR9_MDC            (1U << 16)
#define TULIP_CSR9_MDO            (1U << 17)
#define TULIP_CSR9_MII            (1U << 18) /* the PHY drives the line */
#define TULIP_CSR9_MDI            (1U << 19)
#define TULIP_CSR9_KEEPS          0x00077c00U /* latches of the chip's own */

/* CSR10, CSR11, CSR12, CSR15 */
#define TULIP_CSR10_ONES          0xfffc0000U
#define TULIP_CSR11_ONES          0xfffe0000U
#define TULIP_CSR11_CONTINUOUS    (1U << 16)
#define TULIP_CSR11_TICK_NS       81920ULL  /* at 100 Mb/s */
#define TULIP_CSR11_TICK_10_NS    819200ULL /* MII at 10 Mb/s */
#define TULIP_CSR11_TICK_SRL_NS   204800ULL /* the 10 Mb/s port */
#define TULIP_CSR12_ONES          0xfffffe00U
#define TULIP_CSR12_GPC           (1U << 8) /* the write says which pins are outputs */
#define TULIP_CSR15_ONES          0xfffffec8U
#define TULIP_CSR15_WRITABLE      0x37U
#define TULIP_CSR15_JBD           (1U << 0) /* no jabber timer */
#define TULIP_CSR15_JCK           (1U << 2) /* it counts bytes, not 2.6 ms */
#define TULIP_CSR15_RWD           (1U << 4)

/* ---- descriptors (4.2.1, 4.2.2): four longwords ----------------------------------------------------- */

#define TULIP_DESC_BYTES          16U
#define TULIP_DESC_OWN            (1U << 31)
#define TULIP_DESC_SIZE_MASK      0x7ffU
#define TULIP_DESC_SIZE_2_SHIFT   11
#define TULIP_DESC_CHAINED        (1U << 24) /* RCH, TCH: address 2 is the next descriptor's */
#define TULIP_DESC_END_OF_RING    (1U << 25) /* RER, TER: before CHAINED */

#define TULIP_RDES0_FF            (1U << 30)
#define TULIP_RDES0_LENGTH_SHIFT  16
#define TULIP_RDES0_LENGTH_MASK   0x3fffU
#define TULIP_RDES0_ES            (1U << 15)
#define TULIP_RDES0_DE            (1U << 14)
#define TULIP_RDES0_DT_SHIFT      12
#define TULIP_RDES0_MF            (1U << 10)
#define TULIP_RDES0_FS            (1U << 9)
#define TULIP_RDES0_LS            (1U << 8)
#define TULIP_RDES0_TL            (1U << 7)
#define TULIP_RDES0_FT            (1U << 5)

#define TULIP_TDES0_ES            (1U << 15)
#define TULIP_TDES0_TO            (1U << 14)
#define TULIP_TDES0_LO            (1U << 11)
#define TULIP_TDES0_NC            (1U << 10)
#define TULIP_TDES0_EC            (1U << 8)
#define TULIP_TDES0_SETUP_DONE    0x7fffffffU
#define TULIP_TDES1_IC            (1U << 31)
#define TULIP_TDES1_LS            (1U << 30)
#define TULIP_TDES1_FS            (1U << 29)
#define TULIP_TDES1_FT1           (1U << 28)
#define TULIP_TDES1_SET           (1U << 27)
#define TULIP_TDES1_AC            (1U << 26) /* the frame brings its own check sequence */
#define TULIP_TDES1_DPD           (1U << 23) /* no padding */
#define TULIP_TDES1_FT0           (1U << 22)

/* Setup frames (4.2.3): of each longword 16 bits count. */
#define TULIP_SETUP_BYTES         192U
#define TULIP_SETUP_ADDRESSES     16U
#define TULIP_SETUP_ADDRESS_BYTES 12U
#define TULIP_SETUP_HASH_BITS     512U
#define TULIP_SETUP_HASH_ADDRESS  156U /* the one that is compared whole */

/* ---- serial ROM and PHY ----------------------------------------------------------------------------- */

#define TULIP_SROM_WORDS          64U
#define TULIP_SROM_BYTES          (2U * TULIP_SROM_WORDS)
#define TULIP_SROM_ID_CRC         16U
#define TULIP_SROM_FORMAT         18U
#define TULIP_SROM_CONTROLLERS    19U
#define TULIP_SROM_ADDRESS        20U
#define TULIP_SROM_DEVICE         26U
#define TULIP_SROM_LEAF           27U
#define TULIP_SROM_CHECKSUM       126U

#define TULIP_PHY_ADDRESS         1U
#define TULIP_PHY_REGISTERS       32U
#define MII_BMCR                  0U
#define MII_BMSR                  1U
#define MII_ID1                   2U
#define MII_ID2                   3U
#define MII_ADVERTISE             4U
#define MII_PARTNER               5U
#define MII_EXPANSION             6U
#define MII_BMCR_RESET            0x8000U
#define MII_BMCR_LOOPBACK         0x4000U
#define MII_BMCR_100              0x2000U
#define MII_BMCR_NEGOTIATE        0x1000U
#define MII_BMCR_POWER_DOWN       0x0800U
#define MII_BMCR_ISOLATE          0x0400U
#define MII_BMCR_RESTART          0x0200U
#define MII_BMCR_FULL             0x0100U
#define MII_BMCR_COLLISION_TEST   0x0080U
#define MII_BMSR_ABILITIES                                                                         \
	0x7849U /* 100 and 10 Mb/s, full and half; no preamble needed; negotiates */
#define MII_BMSR_NEGOTIATED 0x0020U
#define MII_BMSR_LINK       0x0004U
