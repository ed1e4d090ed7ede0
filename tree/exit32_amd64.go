package tree

// machine32 is i386's e_machine (elf(5)), and exit32 its exit(0): xor ebx,ebx;
// xor eax,eax; inc eax; int 0x80.
const (
	machine32   = 3
	exit32Flags = 0
	exit32      = "\x31\xdb\x31\xc0\x40\xcd\x80"
)
