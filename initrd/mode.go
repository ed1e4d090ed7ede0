package initrd

import (
	"fmt"
	"strconv"
	"syscall"
)

// A Mode is the st_mode of a file.
type Mode uint32

// String is the mode as ls(1) prints it.
func (m Mode) String() string {
	kinds := map[Mode]byte{
		syscall.S_IFREG: '-', syscall.S_IFDIR: 'd', syscall.S_IFLNK: 'l', syscall.S_IFCHR: 'c', syscall.S_IFBLK: 'b',
		syscall.S_IFIFO: 'p', syscall.S_IFSOCK: 's',
	}
	text := []byte("?rwxrwxrwx")
	if kind := kinds[m&syscall.S_IFMT]; kind != 0 {
		text[0] = kind
	}
	for i := range 9 {
		if m&(1<<(8-i)) == 0 {
			text[1+i] = '-'
		}
	}
	for _, special := range []struct {
		bit   Mode
		place int
		with  byte // Where it may be executed too.
	}{{syscall.S_ISUID, 3, 's'}, {syscall.S_ISGID, 6, 's'}, {syscall.S_ISVTX, 9, 't'}} {
		if m&special.bit == 0 {
			continue
		}
		if text[special.place] == '-' {
			special.with -= 'a' - 'A'
		}
		text[special.place] = special.with
	}
	return string(text)
}

// MarshalText is the mode in octal.
func (m Mode) MarshalText() ([]byte, error) { return fmt.Appendf(nil, "%06o", uint32(m)), nil }

// UnmarshalText reads what MarshalText wrote.
func (m *Mode) UnmarshalText(text []byte) error {
	n, err := strconv.ParseUint(string(text), 8, 32)
	*m = Mode(n)
	return err
}

// IsRegular tells whether it is that of a file with content.
func (m Mode) IsRegular() bool { return m&syscall.S_IFMT == syscall.S_IFREG }

// IsDir tells whether it is that of a directory.
func (m Mode) IsDir() bool { return m&syscall.S_IFMT == syscall.S_IFDIR }

// IsLink tells whether it is that of a symbolic link.
func (m Mode) IsLink() bool { return m&syscall.S_IFMT == syscall.S_IFLNK }
