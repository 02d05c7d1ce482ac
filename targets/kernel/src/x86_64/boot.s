# From the loader (PVH: 32-bit, flat, no paging) to Rust in the upper half; and the same for the other processors, which
# begin in 16-bit mode.

.set IMAGE, 0xffff840000000000
.set CR4_PAE, 1 << 5
.set EFER, 0xc0000080
.set EFER_LME_NXE, 1 << 8 | 1 << 11
.set CR0_PE_WP_PG, 1 << 0 | 1 << 16 | 1 << 31

.section .note.pvh, "a", @note
.balign 4
    .long 4, 4, 18
    .asciz "Xen"
    .long boot_entry

.section .boot, "ax"
.code32
.global boot_entry
boot_entry:
    cli
    cld
    lgdt [boot_gdt_pointer]
    mov eax, cr4
    or eax, CR4_PAE
    mov cr4, eax
    mov eax, offset boot_root
    mov cr3, eax
    mov ecx, EFER
    rdmsr
    or eax, EFER_LME_NXE
    wrmsr
    mov eax, cr0
    or eax, CR0_PE_WP_PG
    mov cr0, eax
    # Far return: an indirect far jump that every assembler agrees on.
    mov esp, offset boot_scratch_end
    push 8
    mov eax, offset boot_long
    push eax
    retf

.code64
boot_long:
    mov ax, 0x10
    mov ds, ax
    mov es, ax
    mov ss, ax
    mov edi, ebx
    movabs rsp, offset boot_stack_end
    xor ebp, ebp
    movabs rax, offset boot_processor
    call rax
    ud2

.balign 8
boot_gdt:
    .quad 0, 0x00af9a000000ffff, 0x00cf92000000ffff
boot_gdt_pointer:
    .word . - boot_gdt - 1
    .quad boot_gdt
.balign 16
    .skip 64
boot_scratch_end:

# Physical memory below 4 GiB, three times: where it is, in the linear map, and where the image is.
.section .boot.tables, "aw"
.balign 4096
.global boot_root
boot_root:
    .quad boot_gibs + 3
    .skip 255 * 8
    .quad boot_gibs + 3
    .skip 7 * 8
    .quad boot_gibs + 3
    .skip 247 * 8
boot_gibs:
    .set n, 0
    .rept 4
    .quad boot_pages + n * 4096 + 3
    .set n, n + 1
    .endr
    .skip 508 * 8
boot_pages:
    .set n, 0
    .rept 4 * 512
    .quad n * 0x200000 + 0x83
    .set n, n + 1
    .endr

.section .bss, "aw", @nobits
# For the processor that comes up.
.balign 4096
    .skip 0x20000
boot_stack_end:

# Copied to TRAMPOLINE, below 1 MiB.
.set TRAMPOLINE, 0x8000
.section .boot.trampoline, "aw"
.global trampoline_start, trampoline_end, trampoline_argument
.code16
trampoline_start:
    jmp trampoline_begin
.balign 8
    # At TRAMPOLINE + 8.
    .word 23
    .long boot_gdt
trampoline_begin:
    cli
    cld
    xor ax, ax
    mov ds, ax
    lgdt [0x8008]
    mov eax, cr4
    or eax, CR4_PAE
    mov cr4, eax
    mov eax, offset boot_root
    mov cr3, eax
    mov ecx, EFER
    rdmsr
    or eax, EFER_LME_NXE
    wrmsr
    mov eax, cr0
    # INIT leaves caches off.
    and eax, 0x9fffffff
    or eax, CR0_PE_WP_PG
    mov cr0, eax
    .byte 0x66, 0xea
    .long trampoline_long - trampoline_start + TRAMPOLINE
    .word 8

.code64
trampoline_long:
    mov ax, 0x10
    mov ds, ax
    mov es, ax
    mov ss, ax
    movabs rsp, offset boot_stack_end
    mov rdi, [rip + trampoline_argument]
    xor ebp, ebp
    movabs rax, offset other_processor
    call rax
    ud2

.balign 8
trampoline_argument:
    .quad 0
trampoline_end:
.text
