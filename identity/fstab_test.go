package identity

import (
	"strings"
	"testing"
)

func TestFstab(t *testing.T) {
	const note = rootNote
	present := func(spec string) bool { return spec == "UUID=here" || spec == "LABEL=a b" || spec == "/dev/vda" }
	tests := []struct {
		name, fstab, want string // want: with nofail
		absent            string
	}{
		{"empty", "", "", ""},
		{"none", "tmpfs /mnt tmpfs size=1m 0 0\n", "tmpfs /mnt tmpfs size=1m 0 0\n", ""},
		{"one", "# x\n/dev/sda1 / ext4 errors=remount-ro 0 1\nUUID=here  /home\text4 defaults 0 2",
			"# x\n" + note + "/dev/sda1 / ext4 errors=remount-ro 0 1\nUUID=here  /home\text4 defaults 0 2", ""},
		{"comment about /", "# UUID=1 / ext4\n#UUID=1 /usr ext4\n", "# UUID=1 / ext4\n#UUID=1 /usr ext4\n", ""},
		{"two, no newline at the end", "a / nfs ro\nb / ext4", note + "a / nfs ro\n" + note + "b / ext4", ""},
		{"roots in disguise", "a // ext4\nb /. ext4\nc /.//./ ext4\nd ///\n", note + "a // ext4\n" + note + "b /. ext4\n" + note + "c /.//./ ext4\n" + note + "d ///\n", ""},
		{"no root", "tmpfs /.x tmpfs\nproc /proc proc\n", "tmpfs /.x tmpfs\nproc /proc proc\n", ""},
		{"damaged line", "garbage\n\x00\n", "garbage\n\x00\n", ""},
		{
			"another machine's disk", "UUID=1234-ABCD  /boot/efi  vfat  umask=0077 0 1\nUUID=5 none swap sw 0 0\n\n/dev/sda5 /usr ext4\n",
			"UUID=1234-ABCD  /boot/efi  vfat  umask=0077,nofail 0 1\nUUID=5 none swap sw,nofail 0 0\n\n/dev/sda5 /usr ext4 nofail\n",
			"line 1, UUID=1234-ABCD on /boot/efi|line 2, UUID=5 on none|line 4, /dev/sda5 on /usr",
		},
		{"present", "LABEL=\"a\\040b\" /x ext4 rw\n/dev/disk/by-uuid/here /y ext4 rw\n/dev/vda /z ext4 rw\n", "LABEL=\"a\\040b\" /x ext4 rw\n/dev/disk/by-uuid/here /y ext4 rw\n/dev/vda /z ext4 rw\n", ""},
		{"not needed", "/dev/sr0 /cd iso9660 user,noauto 0 0\nUUID=1 /x ext4 nofail,rw\nUUID=2 /y ext4 _netdev\n10.0.0.1:/h /h nfs rw\n//nas/x /n cifs rw\n",
			"/dev/sr0 /cd iso9660 user,noauto 0 0\nUUID=1 /x ext4 nofail,rw\nUUID=2 /y ext4 _netdev\n10.0.0.1:/h /h nfs rw\n//nas/x /n cifs rw\n", ""},
		{"mapper", "/dev/mapper/vg-home /home ext4 defaults\n", "/dev/mapper/vg-home /home ext4 defaults,nofail\n", "line 1, /dev/mapper/vg-home on /home"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, absent := Fstab(tt.fstab, true, present)
			if got != tt.want || strings.Join(absent, "|") != tt.absent {
				t.Errorf("%s: %q, absent %q, want %q, %q", tt.name, got, absent, tt.want, tt.absent)
			}
			if again, _ := Fstab(got, true, present); again != got {
				t.Errorf("%s, a second time: %q", tt.name, again)
			}
			kept, absent := Fstab(tt.fstab, false, present)
			if strings.Contains(strings.ReplaceAll(kept, "nofail,rw", ""), "nofail") || strings.Join(absent, "|") != tt.absent {
				t.Errorf("%s, kept: %q, absent %q", tt.name, kept, absent)
			}
		})
	}
}

// A tree's fstab may hold anything: no line is lost, and a second time changes
// nothing.
func FuzzFstab(f *testing.F) {
	f.Add("UUID=1 /boot/efi vfat umask=0077 0 1\n/dev/sda1 / ext4\n")
	f.Add("LABEL=x / \n// / x\x00\t,nofail")
	f.Fuzz(func(t *testing.T, text string) {
		for _, nofail := range []bool{true, false} {
			got, _ := Fstab(text, nofail, func(string) bool { return false })
			if strings.Count(got, "\n") != strings.Count(text, "\n") {
				t.Errorf("%q became %q", text, got)
			}
			if rest := strings.ReplaceAll(got, rootNote, ""); !nofail && rest != strings.ReplaceAll(text, rootNote, "") {
				t.Errorf("%q became %q", text, got)
			}
			if again, _ := Fstab(got, nofail, func(string) bool { return false }); again != got {
				t.Errorf("%q, then %q", got, again)
			}
		}
	})
}
