/* SPDX-License-Identifier: MIT */
/*
 * The legacy board: PCI with its interrupt router, the devices of a PC/AT, and, as on the other machine
 * (dsdt.asl), VMBus with the address space for its devices. Ports, lines and addresses are those of
 * proto/board.h and proto/piix4.h. acpi.c adds an SSDT with what differs from machine to machine:
 * processors, and the high MMIO window \MHGB (base) and \MHGL (bytes, 0 for none).
 */
DefinitionBlock ("dsdt_legacy.aml", "DSDT", 2, "TABIQ", "TABLEGAC", 0x00000001)
{
    External (\MHGB, IntObj)
    External (\MHGL, IntObj)

    /* SUS_TYP 0 of the PIIX4. */
    Name (\_S5, Package () { 0x00, 0x00, 0x00, 0x00 })

    Scope (\_SB)
    {
        Device (PCI0)
        {
            Name (_HID, EisaId ("PNP0A03"))
            Name (_UID, 0)
            Name (_BBN, 0)

            Name (_CRS, ResourceTemplate ()
            {
                WordBusNumber (ResourceProducer, MinFixed, MaxFixed, PosDecode,
                    0x0000, 0x0000, 0x00FF, 0x0000, 0x0100)
                IO (Decode16, 0x0CF8, 0x0CF8, 0x01, 0x08)
                WordIO (ResourceProducer, MinFixed, MaxFixed, PosDecode, EntireRange,
                    0x0000, 0x0000, 0x0CF7, 0x0000, 0x0CF8)
                WordIO (ResourceProducer, MinFixed, MaxFixed, PosDecode, EntireRange,
                    0x0000, 0x0D00, 0xFFFF, 0x0000, 0xF300)
                DWordMemory (ResourceProducer, PosDecode, MinFixed, MaxFixed, Cacheable, ReadWrite,
                    0x00000000, 0x000A0000, 0x000BFFFF, 0x00000000, 0x00020000)
                DWordMemory (ResourceProducer, PosDecode, MinFixed, MaxFixed, NonCacheable,
                    ReadWrite, 0x00000000, 0xE0000000, 0xFEBFFFFF, 0x00000000, 0x1EC00000)
            })

            /* Slot n's INTA is PIRQ (n - 1) mod 4; the slots of function 3's SCI apart. */
            Name (_PRT, Package ()
            {
                Package () { 0x0001FFFF, 0, \_SB.LNKA, 0 }, Package () { 0x0001FFFF, 1, \_SB.LNKB, 0 },
                Package () { 0x0001FFFF, 2, \_SB.LNKC, 0 }, Package () { 0x0001FFFF, 3, \_SB.LNKD, 0 },
                Package () { 0x0002FFFF, 0, \_SB.LNKB, 0 }, Package () { 0x0002FFFF, 1, \_SB.LNKC, 0 },
                Package () { 0x0002FFFF, 2, \_SB.LNKD, 0 }, Package () { 0x0002FFFF, 3, \_SB.LNKA, 0 },
                Package () { 0x0003FFFF, 0, \_SB.LNKC, 0 }, Package () { 0x0003FFFF, 1, \_SB.LNKD, 0 },
                Package () { 0x0003FFFF, 2, \_SB.LNKA, 0 }, Package () { 0x0003FFFF, 3, \_SB.LNKB, 0 },
                Package () { 0x0004FFFF, 0, \_SB.LNKD, 0 }, Package () { 0x0004FFFF, 1, \_SB.LNKA, 0 },
                Package () { 0x0004FFFF, 2, \_SB.LNKB, 0 }, Package () { 0x0004FFFF, 3, \_SB.LNKC, 0 },
                Package () { 0x0005FFFF, 0, \_SB.LNKA, 0 }, Package () { 0x0005FFFF, 1, \_SB.LNKB, 0 },
                Package () { 0x0005FFFF, 2, \_SB.LNKC, 0 }, Package () { 0x0005FFFF, 3, \_SB.LNKD, 0 },
                Package () { 0x0006FFFF, 0, \_SB.LNKB, 0 }, Package () { 0x0006FFFF, 1, \_SB.LNKC, 0 },
                Package () { 0x0006FFFF, 2, \_SB.LNKD, 0 }, Package () { 0x0006FFFF, 3, \_SB.LNKA, 0 },
                /* The PIIX4: its SCI is wired to GSI 9. */
                Package () { 0x0007FFFF, 0, 0, 9 },         Package () { 0x0007FFFF, 1, \_SB.LNKD, 0 },
                Package () { 0x0007FFFF, 2, \_SB.LNKA, 0 }, Package () { 0x0007FFFF, 3, \_SB.LNKB, 0 },
                Package () { 0x0008FFFF, 0, \_SB.LNKD, 0 }, Package () { 0x0008FFFF, 1, \_SB.LNKA, 0 },
                Package () { 0x0008FFFF, 2, \_SB.LNKB, 0 }, Package () { 0x0008FFFF, 3, \_SB.LNKC, 0 },
                Package () { 0x0009FFFF, 0, \_SB.LNKA, 0 }, Package () { 0x0009FFFF, 1, \_SB.LNKB, 0 },
                Package () { 0x0009FFFF, 2, \_SB.LNKC, 0 }, Package () { 0x0009FFFF, 3, \_SB.LNKD, 0 },
                Package () { 0x000AFFFF, 0, \_SB.LNKB, 0 }, Package () { 0x000AFFFF, 1, \_SB.LNKC, 0 },
                Package () { 0x000AFFFF, 2, \_SB.LNKD, 0 }, Package () { 0x000AFFFF, 3, \_SB.LNKA, 0 },
                Package () { 0x000BFFFF, 0, \_SB.LNKC, 0 }, Package () { 0x000BFFFF, 1, \_SB.LNKD, 0 },
                Package () { 0x000BFFFF, 2, \_SB.LNKA, 0 }, Package () { 0x000BFFFF, 3, \_SB.LNKB, 0 },
                Package () { 0x000CFFFF, 0, \_SB.LNKD, 0 }, Package () { 0x000CFFFF, 1, \_SB.LNKA, 0 },
                Package () { 0x000CFFFF, 2, \_SB.LNKB, 0 }, Package () { 0x000CFFFF, 3, \_SB.LNKC, 0 },
                Package () { 0x000DFFFF, 0, \_SB.LNKA, 0 }, Package () { 0x000DFFFF, 1, \_SB.LNKB, 0 },
                Package () { 0x000DFFFF, 2, \_SB.LNKC, 0 }, Package () { 0x000DFFFF, 3, \_SB.LNKD, 0 },
                Package () { 0x000EFFFF, 0, \_SB.LNKB, 0 }, Package () { 0x000EFFFF, 1, \_SB.LNKC, 0 },
                Package () { 0x000EFFFF, 2, \_SB.LNKD, 0 }, Package () { 0x000EFFFF, 3, \_SB.LNKA, 0 },
                Package () { 0x000FFFFF, 0, \_SB.LNKC, 0 }, Package () { 0x000FFFFF, 1, \_SB.LNKD, 0 },
                Package () { 0x000FFFFF, 2, \_SB.LNKA, 0 }, Package () { 0x000FFFFF, 3, \_SB.LNKB, 0 }
            })

            Device (ISA)
            {
                Name (_ADR, 0x00070000)

                OperationRegion (PIRQ, PCI_Config, 0x60, 0x04)
                Field (PIRQ, ByteAcc, NoLock, Preserve)
                {
                    PRQA, 8,
                    PRQB, 8,
                    PRQC, 8,
                    PRQD, 8
                }

                Device (RTC0)
                {
                    Name (_HID, EisaId ("PNP0B00"))
                    Name (_CRS, ResourceTemplate ()
                    {
                        IO (Decode16, 0x0070, 0x0070, 0x01, 0x02)
                        IRQNoFlags () { 8 }
                    })
                }

                Device (KBD0)
                {
                    Name (_HID, EisaId ("PNP0303"))
                    Name (_CRS, ResourceTemplate ()
                    {
                        IO (Decode16, 0x0060, 0x0060, 0x01, 0x01)
                        IO (Decode16, 0x0064, 0x0064, 0x01, 0x01)
                        IRQNoFlags () { 1 }
                    })
                }

                Device (MOU0)
                {
                    Name (_HID, EisaId ("PNP0F13"))
                    Name (_CRS, ResourceTemplate ()
                    {
                        IRQNoFlags () { 12 }
                    })
                }

                Device (COM1)
                {
                    Name (_HID, EisaId ("PNP0501"))
                    Name (_UID, 1)
                    Name (_DDN, "COM1")
                    Name (_CRS, ResourceTemplate ()
                    {
                        IO (Decode16, 0x03F8, 0x03F8, 0x01, 0x08)
                        IRQNoFlags () { 4 }
                    })
                }

                Device (COM2)
                {
                    Name (_HID, EisaId ("PNP0501"))
                    Name (_UID, 2)
                    Name (_DDN, "COM2")
                    Name (_CRS, ResourceTemplate ()
                    {
                        IO (Decode16, 0x02F8, 0x02F8, 0x01, 0x08)
                        IRQNoFlags () { 3 }
                    })
                }

                Device (TMR0)
                {
                    Name (_HID, EisaId ("PNP0100"))
                    Name (_CRS, ResourceTemplate ()
                    {
                        IO (Decode16, 0x0040, 0x0040, 0x01, 0x04)
                        IRQNoFlags () { 0 }
                    })
                }

                Device (DMA0)
                {
                    Name (_HID, EisaId ("PNP0200"))
                    Name (_CRS, ResourceTemplate ()
                    {
                        IO (Decode16, 0x0000, 0x0000, 0x01, 0x10)
                        IO (Decode16, 0x0081, 0x0081, 0x01, 0x0F)
                        IO (Decode16, 0x00C0, 0x00C0, 0x01, 0x20)
                        DMA (Compatibility, NotBusMaster, Transfer8) { 4 }
                    })
                }

                Device (SPKR)
                {
                    Name (_HID, EisaId ("PNP0800"))
                    Name (_CRS, ResourceTemplate ()
                    {
                        IO (Decode16, 0x0061, 0x0061, 0x01, 0x01)
                    })
                }
            }
        }

        /* The ports of the PIIX4's power management, which are no BARs. */
        Device (RES0)
        {
            Name (_HID, EisaId ("PNP0C02"))
            Name (_UID, 1)
            Name (_CRS, ResourceTemplate ()
            {
                IO (Decode16, 0x0600, 0x0600, 0x01, 0x40)
                IO (Decode16, 0x0700, 0x0700, 0x01, 0x10)
                IO (Decode16, 0x04D0, 0x04D0, 0x01, 0x02)
                IO (Decode16, 0x0092, 0x0092, 0x01, 0x01)
                IO (Decode16, 0x00B2, 0x00B2, 0x01, 0x02)
            })
        }

        /* A PIRQ's register: bit 7 is off, bits 3 to 0 the IRQ. */
        Name (PRSL, ResourceTemplate ()
        {
            Interrupt (ResourceConsumer, Level, ActiveHigh, Shared) { 10, 11 }
        })

        Method (LSTA, 1, NotSerialized)
        {
            If (Arg0 & 0x80) { Return (0x09) }
            Return (0x0B)
        }

        Method (LCRS, 1, Serialized)
        {
            Name (BUFF, ResourceTemplate ()
            {
                Interrupt (ResourceConsumer, Level, ActiveHigh, Shared, , , LIRQ) { 0 }
            })
            CreateDWordField (BUFF, LIRQ._INT, IRQN)
            If (Arg0 & 0x80) { IRQN = 0 } Else { IRQN = Arg0 & 0x0F }
            Return (BUFF)
        }

        Device (LNKA)
        {
            Name (_HID, EisaId ("PNP0C0F"))
            Name (_UID, 1)
            Method (_STA) { Return (LSTA (\_SB.PCI0.ISA.PRQA)) }
            Method (_PRS) { Return (PRSL) }
            Method (_CRS) { Return (LCRS (\_SB.PCI0.ISA.PRQA)) }
            Method (_DIS) { \_SB.PCI0.ISA.PRQA |= 0x80 }
            Method (_SRS, 1) { CreateDWordField (Arg0, 0x05, WANT) \_SB.PCI0.ISA.PRQA = WANT }
        }

        Device (LNKB)
        {
            Name (_HID, EisaId ("PNP0C0F"))
            Name (_UID, 2)
            Method (_STA) { Return (LSTA (\_SB.PCI0.ISA.PRQB)) }
            Method (_PRS) { Return (PRSL) }
            Method (_CRS) { Return (LCRS (\_SB.PCI0.ISA.PRQB)) }
            Method (_DIS) { \_SB.PCI0.ISA.PRQB |= 0x80 }
            Method (_SRS, 1) { CreateDWordField (Arg0, 0x05, WANT) \_SB.PCI0.ISA.PRQB = WANT }
        }

        Device (LNKC)
        {
            Name (_HID, EisaId ("PNP0C0F"))
            Name (_UID, 3)
            Method (_STA) { Return (LSTA (\_SB.PCI0.ISA.PRQC)) }
            Method (_PRS) { Return (PRSL) }
            Method (_CRS) { Return (LCRS (\_SB.PCI0.ISA.PRQC)) }
            Method (_DIS) { \_SB.PCI0.ISA.PRQC |= 0x80 }
            Method (_SRS, 1) { CreateDWordField (Arg0, 0x05, WANT) \_SB.PCI0.ISA.PRQC = WANT }
        }

        Device (LNKD)
        {
            Name (_HID, EisaId ("PNP0C0F"))
            Name (_UID, 4)
            Method (_STA) { Return (LSTA (\_SB.PCI0.ISA.PRQD)) }
            Method (_PRS) { Return (PRSL) }
            Method (_CRS) { Return (LCRS (\_SB.PCI0.ISA.PRQD)) }
            Method (_DIS) { \_SB.PCI0.ISA.PRQD |= 0x80 }
            Method (_SRS, 1) { CreateDWordField (Arg0, 0x05, WANT) \_SB.PCI0.ISA.PRQD = WANT }
        }

        Device (VMOD)
        {
            Name (_HID, "ACPI0004")
            Name (_UID, 0)

            Name (LOW0, ResourceTemplate ()
            {
                DWordMemory (ResourceProducer, PosDecode, MinFixed, MaxFixed, Cacheable, ReadWrite,
                    0x00000000, 0xD0000000, 0xDFFFFFFF, 0x00000000, 0x10000000)
            })

            Name (BOTH, ResourceTemplate ()
            {
                DWordMemory (ResourceProducer, PosDecode, MinFixed, MaxFixed, Cacheable, ReadWrite,
                    0x00000000, 0xD0000000, 0xDFFFFFFF, 0x00000000, 0x10000000)
                QWordMemory (ResourceProducer, PosDecode, MinFixed, MaxFixed, Cacheable, ReadWrite,
                    0x0000000000000000, 0x0000000100000000, 0x000000013FFFFFFF,
                    0x0000000000000000, 0x0000000040000000, , , HIGH)
            })

            Method (_CRS, 0, Serialized)
            {
                If (\MHGL == 0)
                {
                    Return (LOW0)
                }

                CreateQWordField (BOTH, \_SB.VMOD.HIGH._MIN, HMIN)
                CreateQWordField (BOTH, \_SB.VMOD.HIGH._MAX, HMAX)
                CreateQWordField (BOTH, \_SB.VMOD.HIGH._LEN, HLEN)
                HMIN = \MHGB
                HLEN = \MHGL
                HMAX = (\MHGB + \MHGL) - 1
                Return (BOTH)
            }

            Device (VMBS)
            {
                Name (_HID, "VMBus")
                Name (_UID, 0)
                Name (_DDN, "VMBUS")
                Name (_STA, 0x0F)

                /* Linux ignores it; Windows' driver wants to be given an interrupt. */
                Name (_CRS, ResourceTemplate ()
                {
                    IRQ (Edge, ActiveHigh, Exclusive) { 5 }
                })
            }
        }
    }
}
