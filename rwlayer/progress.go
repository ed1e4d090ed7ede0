package rwlayer

import (
	"fmt"
	"strconv"
	"strings"
)

// ProgressFD is the file descriptor on which a program that System.Run runs may
// tell how far it is.
const ProgressFD = 3

// fsckPasses are those of e2fsck(8).
const fsckPasses = 5

// fsckProgress is a line that e2fsck writes for -C: pass, done, of, device. It is
// empty for any other.
func fsckProgress(line string) string {
	fields := strings.Fields(line)
	if len(fields) < 3 {
		return ""
	}
	pass, err := strconv.Atoi(fields[0])
	if err != nil || pass < 1 || pass > fsckPasses {
		return ""
	}
	done, err := strconv.ParseUint(fields[1], 10, 32)
	if err != nil {
		return ""
	}
	all, err := strconv.ParseUint(fields[2], 10, 32)
	if err != nil || all == 0 || done > all {
		return ""
	}
	return fmt.Sprintf("pass %d of %d, %d %%", pass, fsckPasses, done*100/all)
}
