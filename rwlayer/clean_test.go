package rwlayer

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// journal is the beginning of a script that sets four bytes of the journal's superblock.
const journal = `at=$(($(debugfs -R 'bmap <8> 0' $F 2>/dev/null) * $(dumpe2fs -h $F 2>/dev/null | sed -n 's/^Block size: *//p') + 32)); `

// What is mounted without a check is what e2fsck would call clean after a look at
// its superblock.
func TestClean(t *testing.T) {
	for name, tt := range map[string]struct {
		change string
		clean  bool
	}{
		"new":            {"true", true},
		"withoutJournal": {"mkfs.ext4 -q -F -O ^has_journal $F", true},
		"ext3":           {"mkfs.ext3 -q -F $F", true},
		"orphanFile":     {"mkfs.ext4 -q -F -O orphan_file $F", true},
		"mountsCounted":  {"tune2fs -c 20 -C 19 $F", true},
		"mountsReached":  {"tune2fs -c 20 -C 20 $F", false},
		"never":          {"tune2fs -c -1 -C 16000 $F", true},
		"notUnmounted":   {"debugfs -w -R 'ssv state 0' $F", false},
		"error":          {"debugfs -w -R 'ssv state 3' $F", false},
		"journal":        {"debugfs -w -R 'feature needs_recovery' $F", false},
		"orphans":        {"debugfs -w -R 'feature orphan_present' $F", false},
		"interval":       {"tune2fs -i 1d -T 20200101 $F", false},
		// The journal has an error of its own, or changes that the superblock does not know of.
		"journalError":     {journal + "printf '\\377\\377\\377\\373' | $W", false},
		"journalData":      {strings.ReplaceAll(journal, "32", "28") + "printf '\\000\\000\\000\\001' | $W", false},
		"journalDataExt3":  {"mkfs.ext3 -q -F $F; " + strings.ReplaceAll(journal, "32", "28") + "printf '\\000\\000\\000\\001' | $W", false},
		"journalZeroed":    {strings.ReplaceAll(journal, "32", "0") + "printf '\\000\\000\\000\\000' | $W", false},
		"journalElsewhere": {"debugfs -w -R 'ssv journal_inum 0' $F; debugfs -w -R 'ssv journal_dev 0x0701' $F", false},
		"journalUnknown":   {"debugfs -w -R 'ssv jnl_backup_type 0' $F", false},
		"blocks1k":         {"mkfs.ext4 -q -F -b 1024 $F", true},
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "disk")
			if err := os.WriteFile(file, make([]byte, 16<<20), 0o600); err != nil {
				t.Fatal(err)
			}
			shell(t, strings.NewReplacer("$F", file, "$W", "dd of="+file+" bs=1 seek=$at conv=notrunc status=none").Replace("mkfs.ext4 -q -F $F; "+tt.change))
			if got := clean(file, Volume{Type: "ext4"}); got != tt.clean {
				t.Errorf("clean = %v, want %v", got, tt.clean)
			}
			out, err := exec.Command("e2fsck", "-p", file).CombinedOutput()
			if said := strings.Contains(string(out), ": clean, "); tt.clean && (!said || err != nil) {
				t.Errorf("e2fsck: %v, %s", err, out)
			}
		})
	}
}

// What cannot be read, or is none of ext4's, is checked as ever.
func TestCleanOthers(t *testing.T) {
	file := filepath.Join(t.TempDir(), "disk")
	if err := os.WriteFile(file, make([]byte, extBlock), 0o600); err != nil {
		t.Fatal(err)
	}
	if clean(file, Volume{Type: "ext4"}) || clean(file+".missing", Volume{Type: "ext4"}) {
		t.Error("a device without a superblock is clean")
	}
	if err := os.Truncate(file, 1<<20); err != nil {
		t.Fatal(err)
	}
	if clean(file, Volume{Type: "xfs"}) || clean(file, Volume{Type: "ext4"}) {
		t.Error("a device of zeros is clean")
	}
}
