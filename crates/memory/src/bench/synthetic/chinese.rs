//! Chinese.

use super::{Chain, Deed, Fact, Phrases};

pub(super) const PHRASES: Phrases = Phrases {
    name: "chinese",
    facts: FACTS,
    deeds: DEEDS,
    chains: CHAINS,
    people: &["王秀英", "李建国", "陈思远", "赵明月", "周文斌", "吴晓燕", "郑海涛", "孙丽华"],
    places: &["昆明", "厦门", "哈尔滨", "拉萨", "青岛", "桂林", "西安", "大连"],
    professions: &["木匠", "外科医生", "糕点师", "地质学家", "电车司机", "公证员"],
    fillers: &[
        ("还有别的事吗？", "没了，今天挺清闲的。"),
        ("进展怎么样？", "挺顺利，谢谢关心！"),
        ("要看一下清单吗？", "好，午饭后再看吧。"),
        ("提醒已经改到明天。", "太好了，这样合适多了。"),
        ("周末天气不错。", "那可以出去走走。"),
        ("需要总结一下吗？", "简短一点就好。"),
        ("找到三篇文章。", "请把第二篇发过来。"),
        ("今天有两个会议。", "能取消第一个就取消吧。"),
        ("有截止日期吗？", "大概是下星期。"),
        ("可以帮忙起草消息。", "行，语气友好些。"),
    ],
    month: |month, year| format!("{year}年{}月", month + 1),
};

const FACTS: &[Fact] = &[
    Fact {
        asks: "你家的狗是什么品种？",
        says: "我们家的狗是{}。",
        changes: "医生说这只狗其实是{}，以前弄错了品种。",
        question: "我的狗是什么品种？",
        values: &["比格犬", "灵缇", "柯基", "贵宾犬"],
    },
    Fact {
        asks: "医生给你开了哪种降压药？",
        says: "医生给我开了降压药{}。",
        changes: "吃了头晕，医生把降压药换成了{}。",
        question: "我在吃哪种降压药？",
        values: &["缬沙坦", "氨氯地平", "雷米普利", "厄贝沙坦"],
    },
    Fact {
        asks: "秋天的旅行打算去哪儿？",
        says: "秋天的旅行我们想去{}。",
        changes: "机票太贵，秋天的旅行改去{}了。",
        question: "秋天的旅行目的地是哪里？",
        values: &["冰岛", "摩洛哥", "越南", "厄瓜多尔"],
    },
    Fact {
        asks: "计费服务用的是哪个数据库？",
        says: "计费服务用的数据库是{}。",
        changes: "周末迁移过了，计费服务现在用{}。",
        question: "计费服务用什么数据库？",
        values: &["PostgreSQL", "MySQL", "Oracle", "SQLite"],
    },
    Fact {
        asks: "跑鞋穿多大码？",
        says: "我买的跑鞋是{}码。",
        changes: "那双跑鞋挤脚，换成了{}码。",
        question: "我的跑鞋是几码？",
        values: &["43", "44", "42", "45"],
    },
    Fact {
        asks: "你对什么食物过敏？",
        says: "我对{}过敏。",
        changes: "检查结果出来了，我过敏的是{}。",
        question: "我对什么过敏？",
        values: &["核桃", "贝类", "芝麻", "芹菜"],
    },
    Fact {
        asks: "厨房的墙刷什么颜色？",
        says: "厨房的墙要刷成{}。",
        changes: "又想了想，厨房还是用{}。",
        question: "厨房用什么颜色？",
        values: &["陶土色", "灰绿色", "藏青色", "芥末黄"],
    },
    Fact {
        asks: "事故复盘由谁主持？",
        says: "事故复盘由{}主持。",
        changes: "交接过了，以后事故复盘归{}负责。",
        question: "谁负责事故复盘？",
        values: &["林晓", "马强", "高敏", "宋涛"],
    },
];

const DEEDS: &[Deed] = &[
    Deed {
        says: "昨晚读完了小说《{}》。",
        question: "{}我读完了哪本小说？",
        values: &["围城", "活着", "边城", "子夜", "呐喊", "茶馆"],
    },
    Deed {
        says: "我们徒步去了{}，风景真美。",
        question: "{}我们徒步去了哪里？",
        values: &["鹰嘴岩", "老磨坊", "镜湖", "灯塔", "蕨谷", "采石场"],
    },
    Deed {
        says: "发布又失败了，原因是{}。",
        question: "{}发布失败的原因是什么？",
        values: &["证书过期", "磁盘满了", "开关配错", "查询太慢", "时钟偏差", "合并出错"],
    },
];

const CHAINS: &[Chain] = &[
    Chain {
        first: "我表妹{who}搬到{where}去了。",
        second: "{who}现在的职业是{what}。",
        question: "搬到{where}的表妹是什么职业？",
    },
    Chain {
        first: "他们派来的顾问叫{who}。",
        second: "{who}是在{where}长大的。",
        question: "我们的顾问在哪里长大？",
    },
];
