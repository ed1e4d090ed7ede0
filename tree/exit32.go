package tree

import (
	"errors"
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// elfClass32 is EI_CLASS of a 32-bit file (elf(5)).
const elfClass32 = 1

// errForeign is about a program that no kernel of this architecture runs.
var errForeign = errors.New("the kernel cannot run it")

// runs32 returns nil if the kernel runs 32-bit programs of the kind whose header
// is head, i386 under amd64 and arm under arm64. Most kernels do, but it can be
// left out of a kernel, switched off at its start (ia32_emulation=0) and be
// missing in the processor, so a program which does nothing is run.
func runs32(head []byte) error {
	if head[4] != elfClass32 || head[5] != 1 || len(exit32) == 0 || int(head[18])|int(head[19])<<8 != machine32 {
		return errForeign
	}
	fd, err := unix.MemfdCreate("exit32", unix.MFD_CLOEXEC)
	if err != nil {
		return err
	}
	f := os.NewFile(uintptr(fd), "exit32")
	defer f.Close()
	if _, err := f.Write(tiny32()); err != nil {
		return err
	}
	p, err := os.StartProcess("/proc/self/fd/"+strconv.Itoa(fd), []string{"exit32"}, &os.ProcAttr{Env: []string{}})
	if err != nil {
		return fmt.Errorf("this kernel does not run 32-bit programs (CONFIG_IA32_EMULATION, CONFIG_COMPAT; ia32_emulation=1): %w", err)
	}
	state, err := p.Wait()
	if err != nil {
		return err
	}
	if !state.Success() {
		return fmt.Errorf("the kernel ran a 32-bit program that exits at once, which ended with: %v", state)
	}
	return nil
}

// tiny32 is a static 32-bit program that ends at once: a header, one program
// header that loads the file, and exit32.
func tiny32() []byte {
	const base, headers = 0x10000, 52 + 32
	size := headers + len(exit32)
	b := make([]byte, 0, size)
	half := func(values ...int) {
		for _, v := range values {
			b = append(b, byte(v), byte(v>>8))
		}
	}
	word := func(values ...int) {
		for _, v := range values {
			b = append(b, byte(v), byte(v>>8), byte(v>>16), byte(v>>24))
		}
	}
	b = append(b, 0x7f, 'E', 'L', 'F', elfClass32, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0)
	half(2, machine32)                            // ET_EXEC
	word(1, base+headers, 52, 0, exit32Flags)     // version, entry, program headers, sections, flags
	half(52, 32, 1, 0, 0, 0)                      // sizes and counts
	word(1, 0, base, base, size, size, 5, 0x1000) // PT_LOAD, readable and executable
	return append(b, exit32...)
}
