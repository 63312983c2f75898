/* SPDX-License-Identifier: MIT */
/*
 * How a guest of the legacy board sees a disk or an adapter: as the chip that everybody has a driver for, until
 * a driver of ours takes it over (auto); or as one of the two for good.
 */
#pragma once

enum vm_face { VM_FACE_AUTO, VM_FACE_EMULATED, VM_FACE_SYNTHETIC };
