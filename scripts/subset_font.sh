#!/bin/sh
# Makes fonts/Roboto-Medium.ttf from Debian's package fonts-roboto-unhinted (2:0~20170802-3): the letters of Latin,
# Greek and Cyrillic, without hints and layout tables. Needs that package, and fonttools for Python (4.68).
set -eu
cd "$(dirname "$0")/.."
python3 -m fontTools.subset /usr/share/fonts/truetype/roboto/unhinted/RobotoTTF/Roboto-Medium.ttf \
    --unicodes="U+20-7E,U+A0-17F,U+1A0,U+1A1,U+1AF,U+1B0,U+218-21B,U+300-304,U+306-30C,U+326-328,U+370-3FF,U+400-45F,\
U+490,U+491,U+1E9E,U+1EA0-1EF9,U+2010-2015,U+2018-201E,U+2020-2022,U+2026,U+2030,U+2039,U+203A,U+20AC,U+2122,U+2212,U+FFFD" \
    --no-hinting --layout-features= --drop-tables+=GPOS,GSUB,GDEF,DSIG,gasp,LTSH,VDMX,hdmx --name-IDs=0,1,2,3,4,5,6,13,14 \
    --notdef-outline --output-file=fonts/Roboto-Medium.ttf
