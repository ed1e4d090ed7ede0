package bootdir

import (
	"fmt"
	"path"
	"regexp"
	"strings"

	"github.com/sidusboot/sidusboot/initrd"
)

var (
	grubDefault = regexp.MustCompile(`(?m)^\s*set\s+default=`)
	grubTimeout = regexp.MustCompile(`(?m)^\s*set\s+timeout=`)
	grubEntry   = regexp.MustCompile(`(?m)^\s*(?:menuentry|submenu)\s+(?:'([^'\n]*)'|"([^"\n]*)"|(\S+))`)
)

// grubText makes grub/grub.cfg.
//
// A node's own file (grub/01-MAC.cfg, the MAC with colons) is read at the end of the
// block and can set another default. Upstream's GRUB looks for grub.cfg-01-MAC by
// itself; Debian's, whose own small configuration names grub.cfg, does not.
func grubText(v *version, old []byte) ([]byte, error) {
	before, after, err := split(v.Name, old)
	if err != nil {
		return nil, err
	}
	foreign := append(append(append([]byte(nil), before...), '\n'), after...)
	for _, m := range grubEntry.FindAllStringSubmatch(string(foreign), -1) {
		for _, l := range v.Labels {
			if name := v.labelName(l.Name); m[1] == name || m[2] == name || m[3] == name {
				return nil, initrd.WithRemedy(&EntryError{name}, "Name")
			}
		}
	}
	var b strings.Builder
	if !grubDefault.Match(foreign) {
		fmt.Fprintf(&b, "set default=%s\n", v.labelName(v.Default))
	}
	if !grubTimeout.Match(foreign) {
		b.WriteString("set timeout=0\n")
	}
	for _, l := range v.Labels {
		name := v.labelName(l.Name)
		fmt.Fprintf(&b, "menuentry '%s' --id '%s' {\n  linux %s", name, name, path.Join(v.Path, v.file(kernelFile)))
		// The URL may be of any scheme: /init uses the host.
		for word := range strings.FieldsSeq(withURL(l.Append, "tftp://'\"$net_default_server\"'/")) {
			fmt.Fprintf(&b, " '%s'", word)
		}
		fmt.Fprintf(&b, " \"BOOTIF=01-$net_default_mac\"\n  initrd %s\n}\n", path.Join(v.Path, v.file(imageFile)))
	}
	// Over the network -e and -f find nothing (GRUB's test.c asks for a directory), -s opens the file.
	b.WriteString("if [ -s \"$prefix/01-$net_default_mac.cfg\" ]; then\n  source \"$prefix/01-$net_default_mac.cfg\"\nfi\n")
	return insert(v.Name, before, b.String(), after), nil
}
