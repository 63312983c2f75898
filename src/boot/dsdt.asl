/* SPDX-License-Identifier: MIT */
/*
 * What the guest cannot find by itself: VMBus with the address space for its devices, the serial
 * port, the clock, and the value that turns the machine off. Ports, lines and addresses are those
 * of proto/board.h. acpi.c adds an SSDT with what differs from machine to machine: processors, and
 * the high MMIO window \MHGB (base) and \MHGL (bytes, 0 for none).
 */
DefinitionBlock ("dsdt.aml", "DSDT", 2, "TABIQ", "TABIQUE", 0x00000001)
{
    External (\MHGB, IntObj)
    External (\MHGL, IntObj)

    Name (\_S5, Package () { 0x05, 0x05, 0x00, 0x00 })

    Scope (\_SB)
    {
        /* As on Hyper-V's generation 2: a module device owns the windows, VMBus is in it. */
        Device (VMOD)
        {
            Name (_HID, "ACPI0004")
            Name (_UID, 0)

            Name (LOW0, ResourceTemplate ()
            {
                DWordMemory (ResourceProducer, PosDecode, MinFixed, MaxFixed, Cacheable, ReadWrite,
                    0x00000000, 0xF8000000, 0xFEBFFFFF, 0x00000000, 0x06C00000)
            })

            Name (BOTH, ResourceTemplate ()
            {
                DWordMemory (ResourceProducer, PosDecode, MinFixed, MaxFixed, Cacheable, ReadWrite,
                    0x00000000, 0xF8000000, 0xFEBFFFFF, 0x00000000, 0x06C00000)
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

        Device (RTC0)
        {
            Name (_HID, EisaId ("PNP0B00"))
            Name (_CRS, ResourceTemplate ()
            {
                IO (Decode16, 0x0070, 0x0070, 0x01, 0x02)
                IRQNoFlags () { 8 }
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
    }
}
