package rwlayer

import "testing"

func TestFsckProgress(t *testing.T) {
	for line, want := range map[string]string{
		"1 34 100 /dev/sda": "pass 1 of 5, 34 %", "5 8 8 /dev/disk/by-id/a b": "pass 5 of 5, 100 %", "2 0 2048 /dev/sda": "pass 2 of 5, 0 %",
		"": "", "x": "", "1 2": "", "6 1 2 /dev/sda": "", "0 1 2 x": "", "1 1 0 x": "", "1 3 2 x": "", "1 -1 2 x": "", "1 a 2 x": "", "1 1 b x": "",
	} {
		t.Run(line, func(t *testing.T) {
			if got := fsckProgress(line); got != want {
				t.Errorf("fsckProgress(%q) = %q, want %q", line, got, want)
			}
		})
	}
}
