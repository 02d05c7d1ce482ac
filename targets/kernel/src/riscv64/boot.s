# From the firmware (supervisor mode, no paging, a0: the hart, a1: its argument) to Rust in the upper half.

.set SUPERVISOR_RWX_NOTED, 0xcf

.section .boot, "ax"
.global boot_entry
boot_entry:
    # The first to come boots. OpenSBI 1.1 may start a hart before it knows where, and sends it here: it goes the others' way.
    la t0, boot_taken
    li t1, 1
.option push
.option arch, +a
    amoswap.d.aqrl t0, t1, (t0)
.option pop
    bnez t0, late_entry
    jal t1, paging_on
    ld sp, boot_stack_address
    ld t0, boot_processor_address
    jr t0

late_entry:
    la t0, start_argument
    ld a1, 0(t0)

# a1: the processor's number.
.global hart_entry
hart_entry:
    jal t1, paging_on
    ld sp, boot_stack_address
    ld t0, other_processor_address
    jr t0

# Every hart that translates addresses has three levels. Comes back in t1.
paging_on:
    csrw sie, zero
    csrw sscratch, zero
    la t0, boot_root
    srli t0, t0, 12
    li t2, {mode} << {mode_shift}
    or t0, t0, t2
    sfence.vma
    csrw satp, t0
    csrr t2, satp
    bne t0, t2, mode_refused
    sfence.vma
    jr t1

# A mode that the hart does not have leaves the register as it was.
mode_refused:
    la s0, mode_refused_text
1:  lbu a0, 0(s0)
    beqz a0, 2f
    li a7, 1
    ecall
    addi s0, s0, 1
    j 1b
2:  li a7, 0x53525354
    li a6, 0
    li a0, 0
    li a1, 1
    ecall
3:  wfi
    j 3b

mode_refused_text:
    .asciz "verdict: FAILED: this hart does not have paging with three levels\n"

.balign 8
boot_stack_address:
    .quad boot_stack_end
boot_processor_address:
    .quad boot_processor
other_processor_address:
    .quad other_processor

.macro gibs first, count
    .set n, \first
    .rept \count
    .quad n << 28 | SUPERVISOR_RWX_NOTED
    .set n, n + 1
    .endr
.endm

# Physical memory in pages of 1 GiB: where it is, in the linear map, and where the image is.
.section .boot.tables, "aw"
.balign 4096
.global boot_root
boot_root:
    gibs 0, 256
    .skip 16 * 8
    gibs 0, 128
    .skip 48 * 8
    gibs 0, 4
    .skip 60 * 8

boot_taken:
    .quad 0
.global start_argument
start_argument:
    .quad 0

.section .bss, "aw", @nobits
# For the hart that comes up.
.balign 4096
    .skip 0x20000
boot_stack_end:
.text
