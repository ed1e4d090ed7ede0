package tree

// machine32 is arm's e_machine (elf(5)), and exit32 its exit(0): mov r0,#0; mov
// r7,#1; svc 0. The flags say EABI version 5.
const (
	machine32   = 40
	exit32Flags = 0x05000000
	exit32      = "\x00\x00\xa0\xe3\x01\x70\xa0\xe3\x00\x00\x00\xef"
)
