/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Statuses, sense keys and additional sense codes. Source: SAM-5 5.3.1, SPC-4 4.5.6 and annex F. */
#pragma once

#define SCSI_GOOD 0x00
#define SCSI_CHECK_CONDITION 0x02
#define SCSI_RESERVATION_CONFLICT 0x18
#define SCSI_TASK_ABORTED 0x40

#define SENSE_NONE 0
#define SENSE_NOT_READY 2
#define SENSE_MEDIUM_ERROR 3
#define SENSE_ILLEGAL_REQUEST 5
#define SENSE_UNIT_ATTENTION 6
#define SENSE_DATA_PROTECT 7

/* Additional sense code and qualifier as one number. */
#define ASC_WRITE_ERROR 0x0c00
#define ASC_READ_ERROR 0x1100
#define ASC_PARAMETER_LENGTH 0x1a00
#define ASC_MISCOMPARE 0x1d00
#define ASC_INVALID_OPCODE 0x2000
#define ASC_LBA_OUT_OF_RANGE 0x2100
#define ASC_INVALID_FIELD 0x2400
#define ASC_NO_SUCH_LUN 0x2500
#define ASC_INVALID_PARAMETER 0x2600
#define ASC_WRITE_PROTECTED 0x2700
#define ASC_SPACE_PROTECTED 0x2707
#define ASC_MEDIUM_CHANGED 0x2800
#define ASC_POWER_ON 0x2900
#define ASC_CAPACITY_CHANGED 0x2a09
#define ASC_NO_SAVED_PAGES 0x3900
#define ASC_NO_MEDIUM 0x3a00
#define ASC_REMOVAL_PREVENTED 0x5302
