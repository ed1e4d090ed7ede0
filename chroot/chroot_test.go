package chroot

import (
	"io"
	"strings"
	"testing"
)

func TestReadLines(t *testing.T) {
	var lines []string
	long := strings.Repeat("x", 3*maxLine)
	r := io.MultiReader(strings.NewReader("1 2 3 /dev/sda\n"+long), strings.NewReader("\nlast"))
	if err := readLines(r, func(line string) { lines = append(lines, line) }); err != nil {
		t.Error(err)
	}
	if len(lines) != 6 || lines[0] != "1 2 3 /dev/sda" || lines[5] != "last" {
		t.Errorf("got %d lines: %.40q", len(lines), lines)
	}
	if err := readLines(strings.NewReader("x\ny"), nil); err != nil {
		t.Error(err)
	}
}
