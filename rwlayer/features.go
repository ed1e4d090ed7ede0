package rwlayer

import (
	"fmt"
	"strings"

	"github.com/sidusboot/sidusboot/printable"
)

// A FeatureError says that an ext4 has features that the tree's e2fsprogs are too
// old for.
type FeatureError struct {
	// Name is the device's, for messages.
	Name string
	// Features are the names that mke2fs and tune2fs have for them, or what the
	// old program calls them.
	Features []string
}

func (e *FeatureError) Error() string {
	return fmt.Sprintf("%s: its ext4 has features that the tree's e2fsprogs does not know (%s): it is neither checked nor mounted; "+
		"install a newer e2fsprogs in the tree, or turn the features off on the server of the volume, while no node uses it, with the e2fsprogs of the system that made it (e2fsck -f VOLUME; tune2fs -O ^%s VOLUME)",
		e.Name, strings.Join(e.Features, ", "), strings.Join(e.Features, ",^"))
}

// newFeatures are the features by the names that an e2fsprogs has for those that
// came after it: C for compat, R for ro_compat, I for incompat, and the bit
// (lib/e2p/feature.c).
const newFeatures = " FEATURE_C10=fast_commit FEATURE_C11=stable_inodes FEATURE_C12=orphan_file" +
	" FEATURE_R13=project FEATURE_R14=shared_blocks FEATURE_R15=verity FEATURE_R16=orphan_present" +
	" FEATURE_I13=metadata_csum_seed FEATURE_I14=large_dir FEATURE_I15=inline_data FEATURE_I16=encrypt FEATURE_I17=casefold "

// unsupportedFeatures finds what e2fsck says when it does not know a feature
// (e2fsck/unix.c, with its status bit 8). It is nil where it says something else.
func unsupportedFeatures(output string) []string {
	_, rest, found := strings.Cut(output, "unsupported feature(s):")
	if !found {
		return nil
	}
	line, _, _ := strings.Cut(rest, "\n")
	names := strings.Fields(printable.Text(line))
	for i, name := range names {
		if _, rest, known := strings.Cut(newFeatures, " "+name+"="); known {
			names[i], _, _ = strings.Cut(rest, " ")
		}
	}
	return names
}
