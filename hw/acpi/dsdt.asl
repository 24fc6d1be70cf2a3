/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The PC board's ACPI namespace. What depends on the machine are seven integers that tables.c finds by name
 * and overwrites: \PCS, \PCE, \PHS, \PHE (PCI windows), \HPEN, \KBCN, \FDCN (is there one), \COMS (bit n: COMn+1 exists). Processors
 * are in an SSDT.
 */
DefinitionBlock ("dsdt.aml", "DSDT", 2, "MOA   ", "MOAPC   ", 1)
{
	/* PIIX4: sleep type 0 is soft off. */
	Name (\_S5, Package () { 0x00, 0x00, 0x00, 0x00 })

	Scope (\_SB)
	{
		Device (PCI0)
		{
			Name (_HID, EisaId ("PNP0A03"))
			Name (_UID, 0x00)
			Name (CRES, ResourceTemplate ()
			{
				WordBusNumber (ResourceProducer, MinFixed, MaxFixed, PosDecode, 0, 0, 0xFF, 0, 0x100)
				IO (Decode16, 0x0CF8, 0x0CF8, 0x01, 0x08)
				WordIO (ResourceProducer, MinFixed, MaxFixed, PosDecode, EntireRange, 0, 0, 0x0CF7, 0, 0x0CF8)
				WordIO (ResourceProducer, MinFixed, MaxFixed, PosDecode, EntireRange, 0, 0x0D00, 0xFFFF, 0,
					0xF300)
				DWordMemory (ResourceProducer, PosDecode, MinFixed, MaxFixed, Cacheable, ReadWrite, 0,
					0x000A0000, 0x000BFFFF, 0, 0x00020000)
				DWordMemory (ResourceProducer, PosDecode, MinFixed, MaxFixed, NonCacheable, ReadWrite, 0,
					0xC0000000, 0xFEBFFFFF, 0, 0x3EC00000, , , PW32)
			})
			Name (CR64, ResourceTemplate ()
			{
				QWordMemory (ResourceProducer, PosDecode, MinFixed, MaxFixed, Cacheable, ReadWrite, 0,
					0x0000008000000000, 0x000000FFFFFFFFFF, 0, 0x0000008000000000, , , PW64)
			})
			Method (_CRS, 0, Serialized)
			{
				CreateDWordField (CRES, \_SB.PCI0.PW32._MIN, PMIN)
				CreateDWordField (CRES, \_SB.PCI0.PW32._MAX, PMAX)
				CreateDWordField (CRES, \_SB.PCI0.PW32._LEN, PLEN)
				PMIN = \PCS
				PMAX = \PCE
				PLEN = (\PCE - \PCS) + 1
				If (\PHE == 0)
				{
					Return (CRES)
				}
				CreateQWordField (CR64, \_SB.PCI0.PW64._MIN, HMIN)
				CreateQWordField (CR64, \_SB.PCI0.PW64._MAX, HMAX)
				CreateQWordField (CR64, \_SB.PCI0.PW64._LEN, HLEN)
				HMIN = \PHS
				HMAX = \PHE
				HLEN = (\PHE - \PHS) + 1
				Return (ConcatenateResTemplate (CRES, CR64))
			}

			/* Pin p (0: INTA) of slot n goes to link (n + p - 1) mod 4, as the board is wired. */
			Method (_PRT, 0, Serialized)
			{
				Local0 = Package (128) {}
				Local1 = 0
				While (Local1 < 128)
				{
					Local2 = Local1 >> 2
					Local3 = (Local1 + Local2 + 3) & 3
					Switch (ToInteger (Local3))
					{
					Case (0) { Local4 = Package (4) { 0, 0, LNKA, 0 } }
					Case (1) { Local4 = Package (4) { 0, 0, LNKB, 0 } }
					Case (2) { Local4 = Package (4) { 0, 0, LNKC, 0 } }
					Default { Local4 = Package (4) { 0, 0, LNKD, 0 } }
					}
					/* The power management function's interrupt is the SCI's. */
					If (Local1 == 4)
					{
						Local4 = Package (4) { 0, 0, LNKS, 0 }
					}
					Local4[0] = (Local2 << 16) | 0xFFFF
					Local4[1] = Local1 & 3
					Local0[Local1] = Local4
					Local1++
				}
				Return (Local0)
			}

			Device (ISA)
			{
				Name (_ADR, 0x00010000)
				OperationRegion (P40C, PCI_Config, 0x60, 0x04)

				Device (RTC)
				{
					Name (_HID, EisaId ("PNP0B00"))
					Name (_CRS, ResourceTemplate ()
					{
						IO (Decode16, 0x0070, 0x0070, 0x01, 0x08)
						IRQNoFlags () { 8 }
					})
				}
				Device (KBD)
				{
					Name (_HID, EisaId ("PNP0303"))
					Method (_STA) { If (\KBCN) { Return (0x0F) } Return (0) }
					Name (_CRS, ResourceTemplate ()
					{
						IO (Decode16, 0x0060, 0x0060, 0x01, 0x01)
						IO (Decode16, 0x0064, 0x0064, 0x01, 0x01)
						IRQNoFlags () { 1 }
					})
				}
				Device (MOU)
				{
					Name (_HID, EisaId ("PNP0F13"))
					Method (_STA) { If (\KBCN) { Return (0x0F) } Return (0) }
					Name (_CRS, ResourceTemplate () { IRQNoFlags () { 12 } })
				}
				Device (FDC0)
				{
					Name (_HID, EisaId ("PNP0700"))
					Method (_STA) { If (\FDCN) { Return (0x0F) } Return (0) }
					Name (_CRS, ResourceTemplate ()
					{
						IO (Decode16, 0x03F2, 0x03F2, 0x00, 0x04)
						IO (Decode16, 0x03F7, 0x03F7, 0x00, 0x01)
						IRQNoFlags () { 6 }
						DMA (Compatibility, NotBusMaster, Transfer8) { 2 }
					})
				}
				Device (COM1)
				{
					Name (_HID, EisaId ("PNP0501"))
					Name (_UID, 0x01)
					Method (_STA) { If (\COMS & 1) { Return (0x0F) } Return (0) }
					Name (_CRS, ResourceTemplate ()
					{
						IO (Decode16, 0x03F8, 0x03F8, 0x00, 0x08)
						IRQNoFlags () { 4 }
					})
				}
				Device (COM2)
				{
					Name (_HID, EisaId ("PNP0501"))
					Name (_UID, 0x02)
					Method (_STA) { If (\COMS & 2) { Return (0x0F) } Return (0) }
					Name (_CRS, ResourceTemplate ()
					{
						IO (Decode16, 0x02F8, 0x02F8, 0x00, 0x08)
						IRQNoFlags () { 3 }
					})
				}
				Device (COM3)
				{
					Name (_HID, EisaId ("PNP0501"))
					Name (_UID, 0x03)
					Method (_STA) { If (\COMS & 4) { Return (0x0F) } Return (0) }
					Name (_CRS, ResourceTemplate ()
					{
						IO (Decode16, 0x03E8, 0x03E8, 0x00, 0x08)
						IRQNoFlags () { 4 }
					})
				}
				Device (COM4)
				{
					Name (_HID, EisaId ("PNP0501"))
					Name (_UID, 0x04)
					Method (_STA) { If (\COMS & 8) { Return (0x0F) } Return (0) }
					Name (_CRS, ResourceTemplate ()
					{
						IO (Decode16, 0x02E8, 0x02E8, 0x00, 0x08)
						IRQNoFlags () { 3 }
					})
				}
			}
		}

		Device (HPET)
		{
			Name (_HID, EisaId ("PNP0103"))
			Name (_UID, 0x00)
			Method (_STA) { If (\HPEN) { Return (0x0F) } Return (0) }
			Name (_CRS, ResourceTemplate () { Memory32Fixed (ReadOnly, 0xFED00000, 0x00000400) })
		}

		/* PIRQ route control: bit 7 set is disabled, the low nibble the ISA interrupt. */
		Field (\_SB.PCI0.ISA.P40C, ByteAcc, NoLock, Preserve)
		{
			PRQ0, 8,
			PRQ1, 8,
			PRQ2, 8,
			PRQ3, 8
		}
		Method (LCRS, 1, Serialized)
		{
			Name (BUF, ResourceTemplate ()
			{
				Interrupt (ResourceConsumer, Level, ActiveHigh, Shared, , , IRQR) { 0 }
			})
			CreateDWordField (BUF, IRQR._INT, NUM)
			If (Arg0 < 0x80)
			{
				NUM = Arg0
			}
			Return (BUF)
		}
		Method (LSTA, 1) { If (Arg0 & 0x80) { Return (0x09) } Return (0x0B) }
		Device (LNKA)
		{
			Name (_HID, EisaId ("PNP0C0F"))
			Name (_UID, 0x00)
			Name (_PRS, ResourceTemplate () { Interrupt (, Level, ActiveHigh, Shared) { 5, 10, 11 } })
			Method (_STA) { Return (LSTA (PRQ0)) }
			Method (_DIS) { PRQ0 = PRQ0 | 0x80 }
			Method (_CRS) { Return (LCRS (PRQ0)) }
			Method (_SRS, 1) { CreateDWordField (Arg0, 0x05, N0) PRQ0 = N0 }
		}
		Device (LNKB)
		{
			Name (_HID, EisaId ("PNP0C0F"))
			Name (_UID, 0x01)
			Name (_PRS, ResourceTemplate () { Interrupt (, Level, ActiveHigh, Shared) { 5, 10, 11 } })
			Method (_STA) { Return (LSTA (PRQ1)) }
			Method (_DIS) { PRQ1 = PRQ1 | 0x80 }
			Method (_CRS) { Return (LCRS (PRQ1)) }
			Method (_SRS, 1) { CreateDWordField (Arg0, 0x05, N1) PRQ1 = N1 }
		}
		Device (LNKC)
		{
			Name (_HID, EisaId ("PNP0C0F"))
			Name (_UID, 0x02)
			Name (_PRS, ResourceTemplate () { Interrupt (, Level, ActiveHigh, Shared) { 5, 10, 11 } })
			Method (_STA) { Return (LSTA (PRQ2)) }
			Method (_DIS) { PRQ2 = PRQ2 | 0x80 }
			Method (_CRS) { Return (LCRS (PRQ2)) }
			Method (_SRS, 1) { CreateDWordField (Arg0, 0x05, N2) PRQ2 = N2 }
		}
		Device (LNKD)
		{
			Name (_HID, EisaId ("PNP0C0F"))
			Name (_UID, 0x03)
			Name (_PRS, ResourceTemplate () { Interrupt (, Level, ActiveHigh, Shared) { 5, 10, 11 } })
			Method (_STA) { Return (LSTA (PRQ3)) }
			Method (_DIS) { PRQ3 = PRQ3 | 0x80 }
			Method (_CRS) { Return (LCRS (PRQ3)) }
			Method (_SRS, 1) { CreateDWordField (Arg0, 0x05, N3) PRQ3 = N3 }
		}
		Device (LNKS)
		{
			Name (_HID, EisaId ("PNP0C0F"))
			Name (_UID, 0x04)
			Name (_PRS, ResourceTemplate () { Interrupt (, Level, ActiveHigh, Shared) { 9 } })
			Name (_CRS, ResourceTemplate () { Interrupt (, Level, ActiveHigh, Shared) { 9 } })
			Method (_STA) { Return (0x0B) }
			Method (_DIS) { }
			Method (_SRS, 1) { }
		}
	}

	/* Last: SeaBIOS's own reader stops at 64-bit integers, and needs only what is above. */
	Name (PCS, 0x1111111111111111)
	Name (PCE, 0x1111111111111111)
	Name (PHS, 0x1111111111111111)
	Name (PHE, 0x1111111111111111)
	Name (HPEN, 0x1111111111111111)
	Name (COMS, 0x1111111111111111)
	Name (KBCN, 0x1111111111111111)
	Name (FDCN, 0x1111111111111111)
}
