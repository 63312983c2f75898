/* SPDX-License-Identifier: MIT */
/*
 * The Adaptec AIC-7870 as its drivers and its sequencer see it: 256 byte registers, the sequencer's
 * instructions, its SCSI bus and its serial EEPROM. Values in registers of several bytes are
 * little-endian.
 *
 *   spec  Adaptec AIC-7770 Data Book, 3 (registers; the AIC-7870's are the same but for the host's half),
 *         AIC-7870 Data Book, 4; Linux drivers/scsi/aic7xxx/aic7xxx.reg quotes both page by page
 */
#pragma once

#define AIC_VENDOR_ID           0x9004
#define AIC_DEVICE_ID           0x7178 /* the AHA-2940, a board with the AIC-7870 and a SEEPROM */
#define AIC_REVISION            0x03

#define AIC_REGISTERS           256
#define AIC_SCBS                16U /* in the chip's own RAM */
#define AIC_SCB_BYTES           32U
#define AIC_PROGRAM_WORDS       512U
#define AIC_STACK_WORDS         4U
#define AIC_FIFO_BYTES          256U
#define AIC_SEEPROM_WORDS       64U /* 93C46 */
#define AIC_IDS                 8U  /* of a narrow bus */

/* Configuration space. */
#define AIC_DEVCONFIG           0x40
#define AIC_DEVCONFIG_RESET     0x00000480U /* the memory port is ours alone; no external SCB RAM */
#define AIC_DEVCONFIG_WRITABLE  0x800100ffU

/* ---- the SCSI block ------------------------------------------------------------------------------ */

#define AIC_SCSISEQ             0x00
#define AIC_TEMODE              0x80
#define AIC_ENSELO              0x40
#define AIC_ENSELI              0x20
#define AIC_ENRSELI             0x10
#define AIC_ENAUTOATNO          0x08
#define AIC_ENAUTOATNI          0x04
#define AIC_ENAUTOATNP          0x02
#define AIC_SCSIRSTO            0x01

#define AIC_SXFRCTL0            0x01
#define AIC_CLRSTCNT            0x10
#define AIC_SPIOEN              0x08
#define AIC_CLRCHN              0x02

#define AIC_SXFRCTL1            0x02
#define AIC_BITBUCKET           0x80
#define AIC_ENSTIMER            0x04

#define AIC_SCSISIG             0x03
#define AIC_CD                  0x80
#define AIC_IO                  0x40
#define AIC_MSG                 0x20
#define AIC_ATN                 0x10
#define AIC_SEL                 0x08
#define AIC_BSY                 0x04
#define AIC_REQ                 0x02
#define AIC_ACK                 0x01
#define AIC_PHASE_MASK          0xe0
#define AIC_P_DATAOUT           0x00
#define AIC_P_DATAIN            0x40
#define AIC_P_COMMAND           0x80
#define AIC_P_MESGOUT           0xa0
#define AIC_P_STATUS            0xc0
#define AIC_P_MESGIN            0xe0

#define AIC_SCSIRATE            0x04
#define AIC_SCSIID              0x05
#define AIC_SCSIDATL            0x06
#define AIC_SCSIDATH            0x07
#define AIC_STCNT               0x08 /* 3 bytes */

#define AIC_SSTAT0              0x0b /* write: CLRSINT0 */
#define AIC_SELDO               0x40
#define AIC_SELDI               0x20
#define AIC_SELINGO             0x10
#define AIC_SDONE               0x04
#define AIC_SPIORDY             0x02
#define AIC_DMADONE             0x01

#define AIC_SSTAT1              0x0c /* write: CLRSINT1 */
#define AIC_SELTO               0x80
#define AIC_CLRATNO             0x40
#define AIC_SCSIRSTI            0x20
#define AIC_PHASEMIS            0x10
#define AIC_BUSFREE             0x08
#define AIC_SCSIPERR            0x04
#define AIC_PHASECHG            0x02
#define AIC_REQINIT             0x01

#define AIC_SSTAT2              0x0d
#define AIC_SSTAT3              0x0e
#define AIC_TESTCTL             0x0f
#define AIC_SIMODE0             0x10
#define AIC_SIMODE1             0x11
#define AIC_SCSIBUSL            0x12
#define AIC_SCSIBUSH            0x13
#define AIC_SHADDR              0x14 /* 4 bytes */
#define AIC_SELTIMER            0x18
#define AIC_SELID               0x19

#define AIC_BRDCTL              0x1d
#define AIC_BRDDAT7             0x80
#define AIC_BRDDAT6             0x40
#define AIC_BRDDAT5             0x20
#define AIC_BRDRW               0x04

#define AIC_SEECTL              0x1e
#define AIC_SEEMS               0x20
#define AIC_SEERDY              0x10
#define AIC_SEECS               0x08
#define AIC_SEECK               0x04
#define AIC_SEEDO               0x02
#define AIC_SEEDI               0x01

#define AIC_SBLKCTL             0x1f
#define AIC_SBLKCTL_WRITABLE    0xe0

#define AIC_SCRATCH             0x20
#define AIC_SCRATCH_BYTES       64

/* ---- the sequencer ------------------------------------------------------------------------------- */

#define AIC_SEQCTL              0x60
#define AIC_PERRORDIS           0x80
#define AIC_PAUSEDIS            0x40
#define AIC_FAILDIS             0x20
#define AIC_FASTMODE            0x10
#define AIC_BRKADRINTEN         0x08
#define AIC_STEP                0x04
#define AIC_SEQRESET            0x02
#define AIC_LOADRAM             0x01

#define AIC_SEQRAM              0x61
#define AIC_SEQADDR0            0x62
#define AIC_SEQADDR1            0x63
#define AIC_ACCUM               0x64
#define AIC_SINDEX              0x65
#define AIC_DINDEX              0x66
#define AIC_BRKADDR0            0x67
#define AIC_BRKADDR1            0x68
#define AIC_BRKDIS              0x80
#define AIC_ALLONES             0x69
#define AIC_ALLZEROS            0x6a /* written: NONE, nowhere */
#define AIC_FLAGS               0x6b
#define AIC_ZERO                0x02
#define AIC_CARRY               0x01
#define AIC_SINDIR              0x6c
#define AIC_DINDIR              0x6d
#define AIC_FUNCTION1           0x6e
#define AIC_STACK               0x6f

/*
 * An instruction in the RAM of chips before the Ultra2, four bytes, the lowest first:
 *
 *     28   25  24  23      16 15       8 7        0
 *    │ opcode │ret│ destination│  source  │immediate │   OR to ROL; an immediate of 0 is the accumulator
 *    │ opcode │     address     │  source  │immediate │  JMP to JZ
 */
#define AIC_OP_OR               0x0
#define AIC_OP_AND              0x1
#define AIC_OP_XOR              0x2
#define AIC_OP_ADD              0x3
#define AIC_OP_ADC              0x4
#define AIC_OP_ROL              0x5
#define AIC_OP_JMP              0x8 /* JMP to CALL: SINDEX becomes source OR immediate */
#define AIC_OP_JC               0x9
#define AIC_OP_JNC              0xa
#define AIC_OP_CALL             0xb
#define AIC_OP_JNE              0xc
#define AIC_OP_JNZ              0xd
#define AIC_OP_JE               0xe
#define AIC_OP_JZ               0xf

#define AIC_OP_SHIFT            25
#define AIC_RET_SHIFT           24
#define AIC_DST_SHIFT           16
#define AIC_SRC_SHIFT           8

/* ---- the host's half ----------------------------------------------------------------------------- */

#define AIC_DSCOMMAND0          0x84
#define AIC_DSCOMMAND1          0x85
#define AIC_DSPCISTATUS         0x86

#define AIC_HCNTRL              0x87
#define AIC_POWRDN              0x40
#define AIC_SWINT               0x10
#define AIC_PAUSE               0x04
#define AIC_INTEN               0x02
#define AIC_CHIPRST             0x01

#define AIC_HADDR               0x88 /* 4 bytes */
#define AIC_HCNT                0x8c /* 3 bytes */
#define AIC_SCBPTR              0x90

#define AIC_INTSTAT             0x91
#define AIC_BRKADRINT           0x08
#define AIC_SCSIINT             0x04
#define AIC_CMDCMPLT            0x02
#define AIC_SEQINT              0x01
#define AIC_SEQINT_CODE         0xf0

#define AIC_ERROR               0x92 /* write: CLRINT */
#define AIC_PCIERRSTAT          0x40
#define AIC_ILLOPCODE           0x04
#define AIC_ILLSADDR            0x02
#define AIC_ILLHADDR            0x01
#define AIC_CLRPARERR           0x10

#define AIC_DFCNTRL             0x93
#define AIC_WIDEODD             0x40
#define AIC_SCSIEN              0x20
#define AIC_SDMAEN              0x10
#define AIC_HDMAEN              0x08
#define AIC_DIRECTION           0x04 /* host to SCSI */
#define AIC_FIFOFLUSH           0x02
#define AIC_FIFORESET           0x01

#define AIC_DFSTATUS            0x94
#define AIC_FIFOQWDEMP          0x20
#define AIC_MREQPEND            0x10
#define AIC_HDONE               0x08
#define AIC_DFTHRESH            0x04
#define AIC_FIFOFULL            0x02
#define AIC_FIFOEMP             0x01

#define AIC_DFWADDR             0x95
#define AIC_DFRADDR             0x97
#define AIC_DFDAT               0x99

#define AIC_SCBCNT              0x9a
#define AIC_SCBAUTO             0x80
#define AIC_QINFIFO             0x9b
#define AIC_QINCNT              0x9c
#define AIC_QOUTFIFO            0x9d
#define AIC_QOUTCNT             0x9e
#define AIC_SFUNCT              0x9f
#define AIC_SCBARRAY            0xa0

/* ---- messages (SCSI-2 6.6) ------------------------------------------------------------------------ */

#define AIC_MSG_COMPLETE        0x00
#define AIC_MSG_EXTENDED        0x01
#define AIC_MSG_SAVE_POINTERS   0x02
#define AIC_MSG_DISCONNECT      0x04
#define AIC_MSG_INITIATOR_ERROR 0x05
#define AIC_MSG_ABORT           0x06
#define AIC_MSG_REJECT          0x07
#define AIC_MSG_NOOP            0x08
#define AIC_MSG_PARITY_ERROR    0x09
#define AIC_MSG_DEVICE_RESET    0x0c
#define AIC_MSG_ABORT_TAG       0x0d
#define AIC_MSG_CLEAR_QUEUE     0x0e
#define AIC_MSG_SIMPLE_TAG      0x20
#define AIC_MSG_HEAD_TAG        0x21
#define AIC_MSG_ORDERED_TAG     0x22
#define AIC_MSG_IGNORE_RESIDUE  0x23
#define AIC_MSG_IDENTIFY        0x80
#define AIC_MSG_MAY_DISCONNECT  0x40
#define AIC_MSG_LUN_MASK        0x3f

#define AIC_EXT_SDTR            0x01
#define AIC_EXT_WDTR            0x03
